"""The short ways of `GET /verify` and `GET /api/auth/me`: known tokens are answered in front of the routes.

A proxy asks the one for every request of a whole site, a frontend the other for every page, and both answers are
in memory: routing, dependencies and, for `/verify`, middleware take several times as long as the check. Whatever
is not plainly granted goes the long way, to the routes themselves.
"""

import time
from collections.abc import Mapping
from functools import lru_cache

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from authapi import errors
from authapi.api import auth
from authapi.api.dependencies import remember_verified
from authapi.api.gateway import identity_headers
from authapi.metrics import Metrics
from authapi.middleware.request_context import choose_request_id
from authapi.middleware.security_headers import security_headers
from authapi.principal import Principal
from authapi.rate_limit import RateLimits, limits, rate_limit_header_lines
from authapi.runtime import Runtime
from authapi.security.access_tokens import AccessTokenClaims
from authapi.token_authority import TokenAuthority, VerifiedToken

Headers = Mapping[bytes, bytes]

# Where FastAPI keeps the span of a request that is traced: it learns the route's name from the router alone.
_TRACED = "fastapi.telemetry"
# A body has to be bounded.
_WITH_BODY = (b"content-length", b"transfer-encoding")


class GatewayShortcut:
    """Answer `GET /verify` with a known bearer token and without conditions, as the route itself would.

    Must be the outermost middleware. Not taken while the limit `service` is on, which is counted by address, nor
    with an Origin: the answer then depends on CORS.
    """

    PATH = "/verify"

    def __init__(self, app: ASGIApp, *, runtime: Runtime, metrics: Metrics, rate_limits: RateLimits) -> None:
        self.app = app
        self._tokens = runtime.tokens
        self._is_limited = rate_limits.is_limited("service")
        self._requests = metrics.requests.labels("GET", self.PATH, "2xx")
        self._seconds = metrics.request_seconds.labels("GET", self.PATH)
        self._headers = [
            *security_headers(https=runtime.settings.is_https),
            (b"content-length", b"0"),
            # As CORS says it where there is no Origin.
            (b"vary", b"Origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = _plain_get(scope, self.PATH)
        known = None
        if headers is not None and b"origin" not in headers and not self._is_limited:
            known = _known_token(self._tokens, headers)
        if headers is None or known is None:
            await self.app(scope, receive, send)
            return
        answer = self._answer(known.claims, request_id=choose_request_id(headers))
        await send({"type": "http.response.start", "status": 200, "headers": answer})
        await send({"type": "http.response.body", "body": b""})
        self._requests.inc()
        self._seconds.observe(time.perf_counter() - started)

    def _answer(self, claims: AccessTokenClaims, *, request_id: str) -> list[tuple[bytes, bytes]]:
        identity = [
            (name.lower().encode(), value.encode()) for name, value in identity_headers(claims).items()
        ]
        return [*identity, *self._headers, (b"x-request-id", request_id.encode())]


class MeShortcut:
    """Answer `GET /api/auth/me` with a known bearer token of a user, as the route itself would.

    Belongs inside of everything that observes or completes answers: they are logged, counted and limited like
    all others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        routes = [route for route in auth.router.routes if isinstance(route, Route)]
        self._route = next(route for route in routes if route.endpoint is auth.me)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _plain_get(scope, self._route.path)
        known = None if headers is None else _known_token(scope["app"].state.runtime.tokens, headers)
        if known is None or known.principal is None:
            await self.app(scope, receive, send)
            return
        # For the limit, and for the layers that log and count.
        scope["route"], scope["endpoint"] = self._route, self._route.endpoint
        request = Request(scope)
        remember_verified(request, known)
        await limits.spend(request, name="user")
        body = _me_body(known.principal)
        answer = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
            *rate_limit_header_lines(scope),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": answer})
        await send({"type": "http.response.body", "body": body})


@lru_cache(maxsize=1024)
def _me_body(principal: Principal) -> bytes:
    return auth.me_answer(principal).model_dump_json().encode()


def _plain_get(scope: Scope, path: str) -> Headers | None:
    """The headers of a GET of this path with neither query nor body; None for any other, and if it is traced."""
    if scope["type"] != "http" or scope["path"] != path or scope["method"] != "GET" or scope["query_string"]:
        return None
    if _TRACED in scope:
        return None
    headers: Headers = dict(scope["headers"])
    # A name twice: which one counts is for the long way to say.
    if len(headers) < len(scope["headers"]) or any(name in headers for name in _WITH_BODY):
        return None
    return headers


def _known_token(tokens: TokenAuthority, headers: Headers) -> VerifiedToken | None:
    """What a bearer token says that was seen before and is valid; None for any other.

    A new one is checked on the long way, and only there: one that fails costs most.
    """
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        return tokens.verify_known(token.strip())
    except errors.AuthApiError:
        # It has expired or was revoked, which is refused there, with a line in the log.
        return None
