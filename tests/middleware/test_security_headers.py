import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from authapi.middleware.security_headers import SecurityHeadersMiddleware
from tests.support.shell_app import build_shell


async def _get(path: str, *, https: bool) -> httpx.Response:
    transport = httpx.ASGITransport(app=build_shell(https=https))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


class TestSecurityHeaders:
    async def test_json_may_do_nothing_in_a_browser(self) -> None:
        headers = (await _get("/api/items/1", https=True)).headers
        policy = {directive.strip() for directive in headers["content-security-policy"].split(";")}
        assert policy == {
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "sandbox",
        }
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in headers["permissions-policy"]
        assert "cross-origin-opener-policy" not in headers

    async def test_a_page_keeps_what_it_says_itself(self) -> None:
        headers = (await _get("/api/page", https=True)).headers
        assert headers.get_list("content-security-policy") == ["default-src 'self'"]
        assert headers.get_list("cache-control") == ["max-age=60"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "server" not in headers

    @pytest.mark.parametrize(("https", "promised"), [(True, True), (False, False)])
    async def test_hsts_only_with_https(self, https: bool, promised: bool) -> None:
        headers = (await _get("/api/items/1", https=https)).headers
        assert ("strict-transport-security" in headers) is promised

    async def test_other_protocols_pass(self) -> None:
        seen: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["type"])

        await SecurityHeadersMiddleware(app, https=True)({"type": "lifespan"}, _receive, _send)
        assert seen == ["lifespan"]


async def _receive() -> Message:
    raise AssertionError("nothing is received")


async def _send(message: Message) -> None:
    raise AssertionError(f"nothing is sent: {message}")
