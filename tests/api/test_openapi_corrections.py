"""The document says what is answered: no answer of FastAPI's own, and every member of a failure."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from authapi.api.openapi_corrections import corrected

pytestmark = pytest.mark.one_database


def responses(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every response by its status."""
    for path_item in document["paths"].values():
        for operation in path_item.values():
            yield from operation["responses"].items()


class TestCorrections:
    @pytest.mark.parametrize("path", ["token", "introspect", "revoke"])
    async def test_oauth2_routes_answer_400_to_a_bad_form(
        self, app: FastAPI, client: httpx.AsyncClient, path: str
    ) -> None:
        assert "422" not in app.openapi()["paths"][f"/api/auth/{path}"]["post"]["responses"]
        answer = await client.post(f"/api/auth/{path}", data={"client_id": "x" * 201})
        assert answer.status_code in {400, 401}

    def test_nothing_of_fastapi_is_left(self, shared_app: FastAPI) -> None:
        assert "ValidationError" not in json.dumps(shared_app.openapi())

    def test_examples_of_failures_have_the_members_of_real_ones(self, shared_app: FastAPI) -> None:
        values = [
            example["value"]
            for status, response in responses(shared_app.openapi())
            if int(status) >= 400
            for example in response.get("content", {})
            .get("application/json", {})
            .get("examples", {})
            .values()
        ]
        envelopes = [value for value in values if "success" in value]
        assert len(envelopes) > 100
        assert {tuple(value) for value in envelopes} == {("success", "message", "data", "error")}
        assert {value["data"] for value in envelopes} == {None}
        assert all(
            value.keys() == {"error", "error_description"} for value in values if value not in envelopes
        )

    def test_every_json_answer_has_a_schema(self, shared_app: FastAPI) -> None:
        """Also the 202 of a registration that has to be confirmed."""
        registered = shared_app.openapi()["paths"]["/api/auth/register"]["post"]["responses"]
        schema = registered["202"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ApiResponse_NoneType_"}

    def test_the_given_document_is_left_alone_and_twice_is_once(self, shared_app: FastAPI) -> None:
        document = {"paths": {"/x": {"summary": "s", "get": {"responses": {"200": {"description": "d"}}}}}}
        assert corrected(document) == document
        once = shared_app.openapi()
        assert corrected(once) == once
