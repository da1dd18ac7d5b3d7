"""Routes whose errors an RFC fixes: `{"error": …, "error_description": …}` instead of the envelope."""

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from authapi import errors
from authapi.api.route import ApiRoute
from authapi.error_handlers import database_error, error_response
from authapi.rate_limit import rate_limit_headers

logger = structlog.stdlib.get_logger("authapi.oauth2")


class OAuth2Route(ApiRoute):
    """Answers errors as RFC 6749 section 5.2 wants them; must stay the outermost route class.

    A body that is too large is refused in the envelope, as it is before the route is reached.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_oauth2(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as raised:
                error = _meaning(raised)
                if error is None:
                    raise
                return _oauth2_error(request, error)

        return handle_oauth2


def _meaning(raised: Exception) -> errors.AuthApiError | None:
    """What an exception means to an OAuth2 client; None if it is not for this route to say."""
    # FastAPI wraps whatever the reading of a body raises.
    cause = raised.__cause__ if isinstance(raised, HTTPException) else raised
    match cause:
        case errors.PayloadTooLarge():
            return None
        case errors.AuthApiError():
            return cause
        case RequestValidationError() | None:
            return errors.InvalidOAuth2Request()
    # A ValueError that no database has raised is a defect of ours.
    meaning = None if isinstance(cause, ValueError) else database_error(cause)
    if meaning is None:
        return None
    # exc_info is logged as types and frames: the message of a DBAPIError holds parameters.
    logger.error("database.refused_or_unavailable", exc_info=cause)
    return meaning()


def _oauth2_error(request: Request, error: errors.AuthApiError) -> Response:
    # Status and headers (Retry-After, WWW-Authenticate) as everywhere; only the body is the RFC's.
    rendered = error_response(error, headers=rate_limit_headers(request.scope))
    is_grant = error.oauth2_error == "invalid_grant"
    status_code = 400 if is_grant or error.status_code == 422 else error.status_code
    log = logger.warning if status_code >= 500 else logger.info
    log("http.refused", status=status_code, error_code=error.code, detail=error.detail)
    response = JSONResponse(
        {"error": error.oauth2_error, "error_description": error.message}, status_code=status_code
    )
    for name, value in rendered.headers.items():
        # A grant that is refused challenges nobody.
        if not name.startswith("content-") and not (status_code == 400 and name == "www-authenticate"):
            response.headers[name] = value
    return response
