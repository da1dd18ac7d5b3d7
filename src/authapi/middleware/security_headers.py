"""Puts the browser's protections on every response, errors included."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Nothing may load, run, be framed or be submitted, should a browser ever render a JSON answer as a page.
# `sandbox` takes away its origin as well (ASVS 3.2.1). Pages set a policy of their own.
API_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
)
TWO_YEARS = 63_072_000
OPENER_POLICY = (b"cross-origin-opener-policy", b"same-origin")

Header = tuple[bytes, bytes]


def security_headers(*, https: bool) -> list[Header]:
    """What every response has that does not say otherwise."""
    defaults = {
        "Content-Security-Policy": API_CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        # Concerns no-cors loads only (<img>, <script>): a fetch() that CORS allows is not affected.
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Cache-Control": "no-store",
    }
    if https:
        defaults["Strict-Transport-Security"] = f"max-age={TWO_YEARS}; includeSubDomains"
    return [(name.lower().encode(), value.encode()) for name, value in defaults.items()]


class SecurityHeadersMiddleware:
    """Fills in each security header that the response lacks and removes `Server` (ASVS 3.4, 13.4.6).

    `https` says that the public URL is https: only then may `Strict-Transport-Security` be promised.
    `Cache-Control` defaults to `no-store`, because most answers are about one user (ASVS 14.3.2).
    """

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self._defaults = security_headers(https=https)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._completed(message.get("headers", ()))
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _completed(self, headers: Iterable[Header]) -> list[Header]:
        # On the raw list: every response passes here, and a lookup through MutableHeaders reads it all.
        present = {name.lower(): value for name, value in headers}
        kept = [header for header in headers if header[0].lower() != b"server"]
        kept += [default for default in self._defaults if default[0] not in present]
        if present.get(b"content-type", b"").startswith(b"text/html") and OPENER_POLICY[0] not in present:
            kept.append(OPENER_POLICY)
        return kept
