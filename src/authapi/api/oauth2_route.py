"""Routes whose errors an RFC fixes: `{"error": …, "error_description": …}` instead of the envelope."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from authapi.api.route import ApiRoute
from authapi.error_handlers import error_response, render_errors_with
from authapi.errors import AuthApiError, InvalidOAuth2Request, MfaRequired, ValidationFailed
from authapi.schemas.oauth2 import oauth2_status

# Refused before the route is reached, as a rule; so they look the same when a chunked body gets further.
_ALWAYS_IN_THE_ENVELOPE = {413, 414}


class OAuth2Route(ApiRoute):
    """Has errors answered as RFC 6749 section 5.2 wants them; must stay the outermost route class."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_oauth2(request: Request) -> Response:
            # No exception is caught here: it has to get past the unit of work, which rolls back for it.
            render_errors_with(request, _oauth2_error)
            return await handle(request)

        return handle_oauth2


def _oauth2_error(
    error: AuthApiError, *, status_code: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Headers (Retry-After, WWW-Authenticate) as everywhere; status and body are the RFC's."""
    rendered = error_response(error, status_code=status_code, headers=headers)
    if rendered.status_code in _ALWAYS_IN_THE_ENVELOPE:
        return rendered
    # These bodies have no `fields`, to which the message of a ValidationFailed points.
    told = InvalidOAuth2Request if isinstance(error, ValidationFailed) else error
    body: dict[str, Any] = {"error": error.oauth2_error, "error_description": told.message}
    if isinstance(error, MfaRequired):
        body |= {"mfa_token": error.mfa_token, "factors": error.factors}
    response = JSONResponse(body, status_code=oauth2_status(error.oauth2_error, rendered.status_code))
    for name, value in rendered.headers.items():
        # A grant that is refused challenges nobody.
        is_challenge = name == "www-authenticate" and response.status_code != 401
        if not name.startswith("content-") and not is_challenge:
            response.headers[name] = value
    return response
