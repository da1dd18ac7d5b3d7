"""The short way of `GET /verify`: what is granted is answered before the application's other layers.

A proxy asks this for every request of a whole site, and the answer is in memory: walking through middleware
and routing takes several times as long as the check. Whatever is not plainly granted goes the long way.
"""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from authapi import errors
from authapi.api.gateway import identity_headers
from authapi.metrics import Metrics
from authapi.middleware.request_context import choose_request_id
from authapi.middleware.security_headers import security_headers
from authapi.rate_limit import RateLimits
from authapi.runtime import Runtime
from authapi.security.access_tokens import AccessTokenClaims

PATH = "/verify"
# With an Origin the answer depends on CORS; a body has to be bounded.
_LONG_WAY = (b"origin", b"content-length", b"transfer-encoding")


class GatewayShortcut:
    """Answer `GET /verify` with a known bearer token and without conditions, as the route itself would.

    Belongs outside of everything. Not taken while the limit `service` is on, which is counted by address.
    """

    def __init__(self, app: ASGIApp, *, runtime: Runtime, metrics: Metrics, rate_limits: RateLimits) -> None:
        self.app = app
        self._tokens = runtime.tokens
        self._is_limited = rate_limits.is_limited("service")
        self._requests = metrics.requests.labels("GET", PATH, "2xx")
        self._seconds = metrics.request_seconds.labels("GET", PATH)
        self._headers = [
            *security_headers(https=runtime.settings.is_https),
            (b"content-length", b"0"),
            # As CORS says it where there is no Origin.
            (b"vary", b"Origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = self._granted(scope)
        if headers is None:
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        self._requests.inc()
        self._seconds.observe(time.perf_counter() - started)

    def _granted(self, scope: Scope) -> list[tuple[bytes, bytes]] | None:
        """The headers of the answer; None if the request has to go the long way."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "GET":
            return None
        given = dict(scope["headers"])
        # A name twice: which one counts is for the long way to say.
        if self._is_limited or scope["query_string"] or len(given) < len(scope["headers"]):
            return None
        if any(name in given for name in _LONG_WAY):
            return None
        scheme, _, token = given.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            known = self._tokens.verify_known(token.strip())
        except errors.AuthApiError:
            # It has expired or was revoked, which is refused there, with a line in the log.
            return None
        # One that was not seen before is checked on the long way, and only there: one that fails costs most.
        return None if known is None else self._answer(known.claims, request_id=choose_request_id(given))

    def _answer(self, claims: AccessTokenClaims, *, request_id: str) -> list[tuple[bytes, bytes]]:
        identity = [
            (name.lower().encode(), value.encode()) for name, value in identity_headers(claims).items()
        ]
        return [*identity, *self._headers, (b"x-request-id", request_id.encode())]
