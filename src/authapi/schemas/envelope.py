"""The shape of every JSON answer, and the bases of all request and response models."""

from collections import defaultdict
from http import HTTPStatus
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict

from authapi.errors import AuthApiError, BadRequest, MalformedRequest, PayloadTooLarge, UriTooLong

T = TypeVar("T")

FromString = Annotated[T, Strict(strict=False)]
"""For types that JSON has no literal for: `role: FromString[Role]`, `id: FromString[UUID]`, datetimes."""


class RequestModel(BaseModel):
    """Base of every JSON body: unknown fields are refused, and types are those of the JSON document.

    Strict: "5" is no number, 1 is no boolean, true is no integer. Enums, UUIDs and datetimes, which JSON can
    only write as strings, are declared as `FromString[...]`. Strings are kept as sent: trimming would change
    passwords (ASVS 6.2.8).
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, str_strip_whitespace=False, hide_input_in_errors=True
    )


class ResponseModel(BaseModel):
    """Base of everything under `data`; can be built from an object's attributes.

    Compiled at its first use. All of them together are a twentieth of the start, and each takes a millisecond.
    """

    model_config = ConfigDict(from_attributes=True, hide_input_in_errors=True, defer_build=True)


class ApiResponse(ResponseModel, Generic[T]):
    success: Literal[True] = True
    message: str
    data: T


class Page(ResponseModel):
    next_cursor: str | None = Field(description="Ask for the next page with it; null on the last page.")
    limit: int


class PagedResponse(ResponseModel, Generic[T]):
    success: Literal[True] = True
    message: str
    data: list[T]
    page: Page


class ErrorField(ResponseModel):
    loc: list[str | int] = Field(examples=[["body", "email"]])
    code: str = Field(examples=["required"])
    message: str


class ErrorBody(ResponseModel):
    code: str
    request_id: str | None = Field(description="The same as the X-Request-ID header.")
    fields: list[ErrorField] | None = Field(default=None, description="Only with status 422.")


class ErrorResponse(ResponseModel):
    success: Literal[False] = False
    message: str
    data: None = None
    error: ErrorBody


_REQUEST_ID_EXAMPLE = "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f"
_HEADERS: dict[int, dict[str, str]] = {
    401: {"WWW-Authenticate": "The challenge of RFC 6750."},
    405: {"Allow": "The methods that this path knows."},
    429: {"Retry-After": "Seconds to wait, at least 1."},
    503: {"Retry-After": "Seconds to wait, at least 1."},
}


def error_responses(*errors: type[AuthApiError]) -> dict[int | str, dict[str, Any]]:
    """Builds FastAPI's `responses=`: one entry per status, one example per error code.

    Adds what any URL (400, 414) and any body (413, next to `MalformedRequest`) can be answered with.
    """
    by_status: dict[int, list[type[AuthApiError]]] = defaultdict(list)
    everywhere: list[type[AuthApiError]] = [
        BadRequest,
        UriTooLong,
        *([PayloadTooLarge] if MalformedRequest in errors else []),
    ]
    for error in (*errors, *everywhere):
        if error not in by_status[error.status_code]:
            by_status[error.status_code].append(error)
    return {status: _response(status, by_status[status]) for status in sorted(by_status)}


def _response(status: int, errors: list[type[AuthApiError]]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}: " + ", ".join(f"`{error.code}`" for error in errors),
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/ErrorResponse"},
                "examples": {error.code: _example(error) for error in errors},
            }
        },
    }
    if status == BadRequest.status_code:
        # Every route has it, which is enough to have the schema described. FastAPI builds a validator for each
        # that is named: four hundred of them would be a good part of the start.
        response["model"] = ErrorResponse
    if status in _HEADERS:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in _HEADERS[status].items()
        }
    return response


def _example(error: type[AuthApiError]) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "request_id": _REQUEST_ID_EXAMPLE}
    if error.status_code == 422:
        body["fields"] = [
            {"loc": ["body", "email"], "code": "required", "message": "This field is required."}
        ]
    value = {"success": False, "message": error.message, "data": None, "error": body}
    return {"summary": error.message, "value": value}
