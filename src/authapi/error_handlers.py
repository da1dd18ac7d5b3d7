"""Every kind of exception becomes the envelope; nothing that the client sent comes back in it.

{"success": false, "message": "...", "data": null,
 "error": {"code": "snake_case", "request_id": "...", "fields": [...]}}      fields: only with 422
"""

import math
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import asyncpg
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy import exc as sqlalchemy_errors
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from authapi import request_context
from authapi.errors import (
    AuthApiError,
    BadRequest,
    DatabaseUnavailable,
    Forbidden,
    InsufficientScope,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PayloadTooLarge,
    ServiceUnavailable,
    TooManyRequests,
    Unauthenticated,
    UriTooLong,
    ValidationFailed,
)
from authapi.field_errors import field_errors


class RenderError(Protocol):
    """Makes a response of an error, as `error_response` does."""

    def __call__(
        self,
        error: AuthApiError,
        *,
        status_code: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response: ...


_log = structlog.stdlib.get_logger("authapi.errors")

_BY_STATUS: dict[int, type[AuthApiError]] = {
    error.status_code: error
    for error in (
        BadRequest,
        NotAuthenticated,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        PayloadTooLarge,
        UriTooLong,
        ValidationFailed,
        TooManyRequests,
        ServiceUnavailable,
    )
}

# PostgreSQL's classes of SQLSTATE that mean "not now": connection, authorisation of our own account, no such
# database, rollback (serialization, deadlock), resources, not in the needed state (locks), intervention
# (shutdown, timeouts), disk. 25006 is a write that reached a replica after a failover.
_UNAVAILABLE = ("08", "28", "3D", "40", "53", "55", "57", "58", "25006")

_UNREACHABLE = (
    sqlalchemy_errors.OperationalError,
    sqlalchemy_errors.InterfaceError,
    # No connection of the pool came free in time.
    sqlalchemy_errors.TimeoutError,
    asyncpg.InterfaceError,
    # The driver is just reading that the server has ended the connection.
    asyncpg.InternalClientError,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
)


def install_error_handlers(app: FastAPI) -> None:
    """Registers the handlers on `app`. What none of them knows is left to `UnhandledErrorsMiddleware`."""
    app.add_exception_handler(AuthApiError, _on_authapi_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for trouble in (sqlalchemy_errors.DBAPIError, asyncpg.PostgresError, *_UNREACHABLE):
        app.add_exception_handler(trouble, _on_database_trouble)


def error_response(
    error: AuthApiError, *, status_code: int | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Renders `error` as the envelope.

    `status_code` replaces that of the class. `headers` are added where the error sets none of the same name.
    429 and 503 always carry `Retry-After`, whole seconds, at least 1 (RFC 9110 section 10.2.3).
    """
    status = status_code or error.status_code
    details: dict[str, Any] = {"code": error.code, "request_id": request_context.current().request_id}
    if status == 422:
        details["fields"] = [
            {"loc": list(field.loc), "code": field.code, "message": field.message} for field in error.fields
        ]
    response = JSONResponse(
        {"success": False, "message": error.message, "data": None, "error": details},
        status_code=status,
        headers=error.headers,
    )
    # The error's own headers come first, then those of whoever raised it or counted it, then defaults.
    for name, value in (headers or {}).items():
        response.headers.setdefault(name, value)
    if isinstance(error, Unauthenticated):
        response.headers.setdefault("WWW-Authenticate", error.challenge)
    elif isinstance(error, InsufficientScope):
        response.headers.setdefault("WWW-Authenticate", 'Bearer error="insufficient_scope"')
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif status in {429, 503}:
        response.headers.setdefault("Retry-After", "1")
    return response


def log_refusal(error: AuthApiError, *, status_code: int | None = None) -> None:
    """Writes for the operator what the answer does not say."""
    status = status_code or error.status_code
    log = _log.warning if status >= 500 else _log.info
    log("http.refused", status=status, error_code=error.code, detail=error.detail)


def render_errors_with(request: Request, render: RenderError) -> None:
    """Has the errors of this request answered by something else than the envelope.

    For routes that must not catch them: a response that a route returns ends its unit of work with a commit.
    """
    request.state.render_error = render


def database_error(error: BaseException) -> type[AuthApiError] | None:
    """Says what a failure of the database means for the client; None if it is a defect of ours.

    `DatabaseUnavailable` where a retry may help, `MalformedRequest` where PostgreSQL refused a value (NUL,
    out of range) that no schema caught.
    """
    driver: BaseException = error
    if isinstance(error, sqlalchemy_errors.DBAPIError) and error.orig is not None:
        driver = error.driver_exception
    sqlstate = getattr(driver, "sqlstate", None) or ""
    # asyncpg refuses a value that it cannot encode with an InterfaceError that is a ValueError too.
    refused_by_driver = isinstance(error, sqlalchemy_errors.DataError) or isinstance(driver, ValueError)
    if sqlstate.startswith("22") or refused_by_driver:
        return MalformedRequest
    lost = getattr(error, "connection_invalidated", False)
    is_unreachable = isinstance(error, _UNREACHABLE) or isinstance(driver, _UNREACHABLE)
    if lost or is_unreachable or sqlstate.startswith(_UNAVAILABLE):
        return DatabaseUnavailable
    return None


async def _on_authapi_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AuthApiError)  # noqa: S101
    return _answer(request, error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    details = error.errors()
    if any(detail["type"] == "json_invalid" for detail in details):
        return _answer(request, MalformedRequest())
    return _answer(request, ValidationFailed(fields=field_errors(details)))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status, headers = error.status_code, dict(error.headers or {})
    if isinstance(error.__cause__, ClientDisconnect):
        raise error.__cause__
    if isinstance(error.__cause__, AuthApiError):
        # FastAPI turns whatever a body's reader raises into a plain 400: here is what was meant.
        return _answer(request, error.__cause__)
    if status < 400:
        return Response(status_code=status, headers=headers)
    if status == 400 and error.__cause__ is not None:
        return _answer(request, MalformedRequest())
    if status == 405:
        # Each route only names its own methods; the path may have more of them (RFC 9110 section 15.5.6).
        headers["Allow"] = ", ".join(sorted(_allowed_methods(request))) or headers.get("Allow", "")
    fallback = BadRequest if status < 500 else InternalError
    return _answer(request, _BY_STATUS.get(status, fallback)(), status_code=status, headers=headers)


async def _on_database_trouble(request: Request, error: Exception) -> Response:
    meaning = database_error(error)
    if meaning is None:
        raise error
    # exc_info is logged as types and frames: the message of a DBAPIError holds parameters.
    _log.error("database.refused_or_unavailable", exc_info=error)
    return _answer(request, meaning())


def _answer(
    request: Request,
    error: AuthApiError,
    *,
    status_code: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    log_refusal(error, status_code=status_code)
    rate_limit_headers: Mapping[str, str] = getattr(request.state, "rate_limit_headers", None) or {}
    render: RenderError = getattr(request.state, "render_error", error_response)
    return render(error, status_code=status_code, headers={**rate_limit_headers, **(headers or {})})


def _allowed_methods(request: Request) -> Iterable[str]:
    allowed: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            allowed |= route.methods or set()
    return allowed
