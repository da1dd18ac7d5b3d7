"""The microservice surface: `/login`, `/validate` and `/verify` at the root, with bare bodies.

`/validate` and `/verify` stand in front of every request to somebody else's API. They answer from memory, and
they are plain Starlette routes: FastAPI's dependencies would cost more than the check itself.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import lru_cache, wraps
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from authapi import errors
from authapi.api.dependencies import DbSession, RuntimeDep
from authapi.api.route import HashingRoute, add_routes, hashes_password
from authapi.enums import BuiltInRole
from authapi.error_handlers import error_response, log_refusal, render_errors_with
from authapi.rate_limit import LimitedRoute, RateLimits, limits, rate_limit_headers
from authapi.runtime import Runtime
from authapi.security.access_tokens import AccessTokenClaims
from authapi.services import login as login_service

BASIC_CHALLENGE = 'Basic realm="authapi", charset="UTF-8"'
MISSING_CREDENTIALS = "Missing credentials"
INVALID_CREDENTIALS = "Invalid credentials"
# Expired, revoked, forged: the answer is one and the same.
NOT_AUTHORIZED = "Not authorized: token invalid, expired or revoked"

# Envoy asks with the method and below the path of the request that it has received.
ANY_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# What a header field can hold as it is; "%" and "," are encoded so that decoding gives every text back.
_PLAIN: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "%,")


class BasicRoute(HashingRoute, LimitedRoute):
    """Answers errors in plain text, with the challenge of HTTP Basic (RFC 7617)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_basic(request: Request) -> Response:
            # No exception is caught here: it has to get past the unit of work, which rolls back for it.
            render_errors_with(request, _refuse_login)
            return await handle(request)

        return handle_basic


router = APIRouter(tags=["gateway"], route_class=BasicRoute)


@router.post(
    "/login",
    summary="Exchange HTTP Basic credentials for an access token",
    response_class=PlainTextResponse,
    responses={
        200: {"content": {"text/plain": {"example": "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6…"}}},
        401: {
            "description": f"`{MISSING_CREDENTIALS}`, `{INVALID_CREDENTIALS}`, or a second factor is needed",
            "content": {"text/plain": {}},
        },
        403: {"description": "The e-mail address is still to be confirmed.", "content": {"text/plain": {}}},
        429: {"description": "Too many requests; see `Retry-After`.", "content": {"text/plain": {}}},
        503: {"description": "Too busy, or no database; see `Retry-After`.", "content": {"text/plain": {}}},
    },
    openapi_extra={"security": [{"HTTPBasic": []}]},
)
@limits.auth
@hashes_password
async def basic_login(request: Request, db: DbSession, runtime: RuntimeDep) -> PlainTextResponse:
    """Send e-mail and password as HTTP Basic (RFC 7617, UTF-8); the body of the answer is the token alone.

    An unknown e-mail, a wrong password and a disabled account get the same answer. Users with a second factor
    cannot log in here.
    """
    email, password = _basic_credentials(request)
    tokens = await login_service.log_in(db, runtime, email=email, password=password)
    return PlainTextResponse(tokens.access_token)


def service_endpoint(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Put `answer` under the limit `service`, which costs nothing where it is off."""

    @wraps(answer)
    async def endpoint(request: Request) -> Response:
        rate_limits: RateLimits = request.app.state.rate_limits
        if not rate_limits.is_limited("service"):
            return answer(request)
        try:
            await limits.spend(request, name="service")
        except errors.TooManyRequests as error:
            return _text(error, error.message)
        response = answer(request)
        response.headers.update(rate_limit_headers(request.scope))
        return response

    # What slowapi's decorator would leave behind, which cannot limit a plain route.
    endpoint.rate_limit_name = "service"  # type: ignore[attr-defined]
    return endpoint


@service_endpoint
def validate(request: Request) -> Response:
    """Show the claims of a bearer token."""
    try:
        claims = _verified_claims(request)
    except errors.NotAuthenticated as error:
        return _text(error, MISSING_CREDENTIALS)
    except errors.InvalidAccessToken as error:
        log_refusal(error)
        return PlainTextResponse(NOT_AUTHORIZED, status_code=403)
    except errors.AuthApiError as error:
        return _text(error, error.message)
    shown = {name: getattr(claims, name) for name in AccessTokenClaims.__slots__}
    if claims.is_service_client:
        shown = {name: value for name, value in shown.items() if value not in (None, ())}
    return JSONResponse({"username": claims.email, "admin": BuiltInRole.ADMIN.value in claims.roles, **shown})


@service_endpoint
def verify(request: Request) -> Response:
    """Tell a reverse proxy whether a request may pass, and in whose name."""
    try:
        claims = _verified_claims(request)
        _narrow(request, claims)
    except errors.AuthApiError as error:
        log_refusal(error)
        return Response(status_code=error.status_code, headers=_headers(error))
    return Response(headers=identity_headers(claims))


def identity_headers(claims: AccessTokenClaims) -> dict[str, str]:
    """In whose name a request may pass.

    Always all of them: a proxy that replaces only what it is given would pass on a client's own.
    """
    return {
        "X-Auth-User-Id": claims.user_id or "",
        "X-Auth-Client-Id": _encoded(claims.client_id),
        "X-Auth-Email": _encoded(claims.email or ""),
        "X-Auth-Roles": ",".join(map(_encoded, claims.roles)),
        "X-Auth-Scopes": claims.scope,
    }


def mount_gateway(app: FastAPI) -> None:
    """Add the three paths to an app; first, so that they are found first."""
    app.router.routes += [
        Route("/validate", validate, methods=["POST"]),
        Route("/verify", verify, methods=["GET"]),
        Route("/verify/{original:path}", verify, methods=ANY_METHOD, name="verify_original"),
    ]
    add_routes(app, router)


def _verified_claims(request: Request) -> AccessTokenClaims:
    """The claims of the request's token; raises `NotAuthenticated`, `InvalidAccessToken`."""
    values = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if not values:
        raise errors.NotAuthenticated
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    # Of two headers the API behind the proxy might believe the other one.
    if len(values) > 1 or scheme.lower() != "bearer":
        raise errors.InvalidAccessToken("not one bearer token")
    runtime: Runtime = request.app.state.runtime
    return runtime.tokens.verify(token.strip()).claims


def _narrow(request: Request, claims: AccessTokenClaims) -> None:
    """Check what the proxy asks for beyond a valid token; raises `InsufficientScope`, `PermissionDenied`.

    Raises `BadRequest` for anything else in the query: a misspelt condition must not let everybody in.
    """
    query = request.scope["query_string"]
    # Below the path stands the client's own request, with the client's own query.
    original = request.path_params.get("original")
    if not query or original:
        return
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        # Of "/verify/" nobody knows whether it asks for the client's "/" or was meant as "/verify".
        if original is not None and name not in {"role", "scope"}:
            continue
        wanted = _words(value)
        if name not in {"role", "scope"} or not wanted:
            raise errors.BadRequest(f"/verify does not know {name!r}, or it is empty")
        if name == "role" and wanted.isdisjoint(claims.roles):
            raise errors.PermissionDenied("none of the roles")
        if name == "scope" and not wanted <= claims.scopes:
            raise errors.InsufficientScope("a scope is missing")


def _words(value: str) -> set[str]:
    return set(value.replace(",", " ").split())


@lru_cache(maxsize=4096)
def _encoded(text: str) -> str:
    return quote(text, safe=_PLAIN)


def _basic_credentials(request: Request) -> tuple[str, str]:
    """E-mail and password; raises `NotAuthenticated` where none are sent, else `InvalidCredentials`."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise errors.NotAuthenticated
    try:
        user_id, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise errors.InvalidCredentials("unreadable Basic credentials") from None
    if not colon:
        raise errors.InvalidCredentials("unreadable Basic credentials")
    return user_id, password


def _refuse_login(
    error: errors.AuthApiError,
    *,
    status_code: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    if isinstance(error, errors.NotAuthenticated):
        text = MISSING_CREDENTIALS
    elif isinstance(error, errors.InvalidCredentials | errors.AccountDisabled):
        text, status_code = INVALID_CREDENTIALS, 401
    else:
        # Too many attempts, too busy, or a second factor, which HTTP Basic cannot carry.
        text = error.message
    rendered = error_response(error, status_code=status_code, headers=headers)
    response = PlainTextResponse(text, status_code=rendered.status_code, headers=_bare(rendered))
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = BASIC_CHALLENGE
    return response


def _text(error: errors.AuthApiError, text: str) -> Response:
    """A text instead of the envelope, with the headers that the error has everywhere."""
    log_refusal(error)
    return PlainTextResponse(text, status_code=error.status_code, headers=_headers(error))


def _headers(error: errors.AuthApiError) -> dict[str, str]:
    return _bare(error_response(error))


def _bare(rendered: Response) -> dict[str, str]:
    """The headers of an answer that are not about its body."""
    return {name: value for name, value in rendered.headers.items() if not name.startswith("content-")}
