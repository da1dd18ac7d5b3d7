"""Puts the real client address into the ASGI scope, once, before anything reads it."""

from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from authapi.client_address import TrustedProxies, client_address

FORWARDED_FOR = b"x-forwarded-for"


class ClientAddressMiddleware:
    """Set `scope["client"]` to `(address, port)`, for all layers inside; wants a server with `proxy_headers=False`.

    Of all forwarding headers only `X-Forwarded-For` counts: proxies pass `Forwarded`, `X-Real-IP` and the
    underscore alias through from the client unless told otherwise (Traefik GHSA-5m6w-wvh7-57vm). The port
    is 0 where a proxy spoke for the client.
    """

    def __init__(self, app: ASGIApp, *, trusted: TrustedProxies) -> None:
        self._app = app
        self._trusted = trusted
        # Of a peer that speaks for itself, which most do for many requests.
        self._direct = lru_cache(maxsize=4096)(lambda peer: client_address(peer, (), trusted))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            peer, port = scope.get("client") or (None, 0)
            direct = self._direct(peer)
            forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == FORWARDED_FOR]
            address = client_address(peer, forwarded, self._trusted) if forwarded else direct
            scope["client"] = (address, port if address == direct else 0)
        await self._app(scope, receive, send)
