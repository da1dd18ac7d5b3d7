"""Routes whose errors an RFC fixes: `{"error": …, "error_description": …}` instead of the envelope."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from authapi import errors
from authapi.api.route import ApiRoute
from authapi.error_handlers import error_response


class OAuth2Route(ApiRoute):
    """Answers errors as RFC 6749 section 5.2 wants them; must stay the outermost route class."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_oauth2(request: Request) -> Response:
            try:
                return await handle(request)
            except errors.AuthApiError as error:
                return _oauth2_error(error)
            except (RequestValidationError, HTTPException):
                return _oauth2_error(errors.InvalidOAuth2Request())

        return handle_oauth2


def _oauth2_error(error: errors.AuthApiError) -> Response:
    # Status and headers (Retry-After, WWW-Authenticate) as everywhere; only the body is the RFC's.
    rendered = error_response(error)
    is_grant = error.oauth2_error == "invalid_grant"
    response = JSONResponse(
        {"error": error.oauth2_error, "error_description": error.message},
        status_code=400 if is_grant or error.status_code == 422 else error.status_code,
    )
    for name in ("Retry-After", "WWW-Authenticate"):
        if name in rendered.headers and response.status_code != 400:
            response.headers[name] = rendered.headers[name]
    return response
