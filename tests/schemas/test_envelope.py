from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from pydantic import Field, ValidationError

from authapi.errors import (
    EmailTaken,
    InvalidCredentials,
    MalformedRequest,
    NotAuthenticated,
    TooManyRequests,
    ValidationFailed,
    WeakPassword,
)
from authapi.schemas.envelope import (
    ApiResponse,
    ErrorResponse,
    FromString,
    Page,
    PagedResponse,
    RequestModel,
    ResponseModel,
    error_responses,
)


class Role(StrEnum):
    USER = "user"


class Change(RequestModel):
    name: str = "x"
    limit: int = 1
    enabled: bool = False
    role: FromString[Role] = Role.USER
    ids: list[FromString[UUID]] = Field(default_factory=list)


class Item(ResponseModel):
    name: str


class TestRequestModel:
    @pytest.mark.parametrize(
        "body",
        [
            {"name": 1},
            {"name": None},
            {"name": b"x"},
            {"limit": "1"},
            {"limit": True},
            {"limit": 1.0},
            {"enabled": 1},
            {"enabled": "true"},
            {"role": "admin"},
            {"ids": ["x"]},
            {"ids": "x"},
            {"unknown": 1},
        ],
    )
    def test_takes_nothing_for_something_else(self, body: dict[str, Any]) -> None:
        with pytest.raises(ValidationError) as caught:
            Change.model_validate(body)
        assert "input_value" not in str(caught.value)

    def test_strings_of_json_become_types(self) -> None:
        change = Change.model_validate({"role": "user", "ids": [str(UUID(int=1))], "name": "  kept  "})
        assert (change.role, change.ids, change.name) == (Role.USER, [UUID(int=1)], "  kept  ")


class TestResponses:
    def test_envelope(self) -> None:
        response = ApiResponse[Item](message="Done.", data=Item(name="a"))
        assert response.model_dump() == {"success": True, "message": "Done.", "data": {"name": "a"}}

    def test_page(self) -> None:
        page = PagedResponse[Item](message="", data=[Item(name="a")], page=Page(next_cursor=None, limit=10))
        assert page.model_dump()["page"] == {"next_cursor": None, "limit": 10}

    def test_objects_are_read_by_attribute(self) -> None:
        class Row:
            name = "a"
            password_hash = "secret"

        assert Item.model_validate(Row()).model_dump() == {"name": "a"}


class TestErrorResponses:
    def test_one_entry_per_status_one_example_per_code(self) -> None:
        responses = error_responses(
            InvalidCredentials,
            NotAuthenticated,
            WeakPassword,
            ValidationFailed,
            TooManyRequests,
            WeakPassword,
        )
        assert list(responses) == [400, 401, 414, 422, 429]
        assert responses[401]["description"] == "Unauthorized: `invalid_credentials`, `not_authenticated`"
        assert set(responses[422]["content"]["application/json"]["examples"]) == {
            "weak_password",
            "validation_failed",
        }
        assert "Retry-After" in responses[429]["headers"]
        assert "WWW-Authenticate" in responses[401]["headers"]

    def test_what_any_body_can_be_answered_with_is_added(self) -> None:
        assert list(error_responses(MalformedRequest)) == [400, 413, 414]
        assert list(error_responses()) == [400, 414]

    def test_examples_fit_the_model(self) -> None:
        for response in error_responses(EmailTaken, WeakPassword, TooManyRequests).values():
            for example in response["content"]["application/json"]["examples"].values():
                assert (
                    ErrorResponse.model_validate(example["value"]).model_dump(exclude_unset=True)
                    == (example["value"])
                )

    def test_fastapi_documents_them(self) -> None:
        app = FastAPI()

        @app.post("/x", responses=error_responses(EmailTaken))
        async def create() -> ApiResponse[Item]:
            raise EmailTaken

        documented = app.openapi()["paths"]["/x"]["post"]["responses"]["409"]["content"]["application/json"]
        assert documented["schema"] == {"$ref": "#/components/schemas/ErrorResponse"}
        assert documented["examples"]["email_taken"]["value"]["error"]["code"] == "email_taken"
