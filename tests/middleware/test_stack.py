"""All layers together: what every answer carries, whichever layer gives it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from starlette.types import Message

from authapi.middleware.security_headers import API_CONTENT_SECURITY_POLICY
from tests.support.log_lines import captured_lines
from tests.support.serving import serve
from tests.support.shell_app import ORIGIN, build_shell


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=build_shell())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with serve(build_shell()) as url:
        yield url


class TestEveryAnswer:
    @pytest.mark.parametrize(
        ("method", "path", "options", "status", "code"),
        [
            ("GET", "/api/items/1", {}, 200, None),
            ("GET", "/nowhere", {}, 404, "not_found"),
            ("GET", "/api/nowhere", {}, 404, "not_found"),
            ("DELETE", "/api/items/1", {}, 405, "method_not_allowed"),
            ("GET", "/api/protected", {}, 401, "invalid_token"),
            ("POST", "/api/login", {"content": b"x" * 70_000}, 413, "payload_too_large"),
            ("GET", "/api/search?q=" + "x" * 9_000, {}, 414, "uri_too_long"),
            ("POST", "/api/login", {"json": {}}, 422, "validation_failed"),
            ("POST", "/api/login", {"content": b"{"}, 400, "malformed_request"),
            ("GET", "/api/search?q=1&q=2", {}, 400, "bad_request"),
            ("GET", "/api/crash", {}, 500, "internal_error"),
        ],
    )
    async def test_carries_envelope_request_id_and_headers(
        self,
        *,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        options: dict[str, object],
        status: int,
        code: str | None,
    ) -> None:
        headers = {"X-Request-ID": "caller-0001", "Origin": ORIGIN, "Content-Type": "application/json"}
        response = await client.request(method, path, headers=headers, **options)  # type: ignore[arg-type]

        assert response.status_code == status
        assert response.headers["x-request-id"] == "caller-0001"
        assert response.headers["content-security-policy"] == API_CONTENT_SECURITY_POLICY
        assert response.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-type"] == "application/json"
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "server" not in response.headers
        if code is not None:
            body = response.json()
            assert body["success"] is False
            assert body["data"] is None
            assert body["error"]["code"] == code
            assert body["error"]["request_id"] == "caller-0001"
            assert ("fields" in body["error"]) is (status == 422)

    @pytest.mark.parametrize("origin", [None, ORIGIN, "https://evil.example.com"])
    @pytest.mark.parametrize("path", ["/api/items/1", "/api/nowhere", "/api/crash"])
    async def test_tells_caches_that_the_origin_matters(
        self, client: httpx.AsyncClient, path: str, origin: str | None
    ) -> None:
        """An answer that was kept for a caller without an Origin would lack the header for one with an Origin."""
        response = await client.get(path, headers={"Origin": origin} if origin else {})

        assert response.headers["vary"] == "Origin"
        allowed = response.headers.get("access-control-allow-origin")
        assert allowed == (ORIGIN if origin == ORIGIN else None)

    async def test_preflight_is_covered_too(self, client: httpx.AsyncClient) -> None:
        headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        response = await client.options("/api/login", headers=headers)
        assert response.status_code == 200
        assert response.headers["x-request-id"]
        assert response.headers["x-content-type-options"] == "nosniff"

    async def test_500_says_nothing(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/api/crash")
        assert response.status_code == 500
        for secret in ("hunter2", "RuntimeError", "Traceback", "shell_app", "authapi_rt_"):
            assert secret not in response.text


class TestClientThatLeaves:
    async def test_half_a_body_is_neither_answered_nor_an_error(self) -> None:
        messages: list[Message] = [
            {"type": "http.request", "body": b'{"email":', "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"host", b"test"), (b"content-type", b"application/json")]
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/api/login"}
        app = build_shell()
        with captured_lines() as lines:
            await app({**scope, "query_string": b"", "headers": headers}, receive, send)
        assert sent == []
        assert [(line["event"], line["log_level"]) for line in lines] == [
            ("http.client_disconnected", "debug"),
            ("http.request", "info"),
        ]


class TestRealServer:
    async def test_connection_survives_a_500(self, server_url: str) -> None:
        reader, writer = await _connect(server_url)
        try:
            for path, status in (("/api/crash", 500), ("/api/whoami", 200), ("/api/crash", 500), ("/x", 404)):
                writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
                head, body = await _read_response(reader)
                assert head.startswith(f"HTTP/1.1 {status}")
                assert "\r\nx-request-id: " in head
                assert "\r\nserver:" not in head
                assert json.loads(body)
        finally:
            await _close(writer)

    async def test_declared_oversize_is_answered_before_the_body_arrives(self, server_url: str) -> None:
        reader, writer = await _connect(server_url)
        try:
            writer.write(_head("/api/login", "Content-Length: 1000000000"))
            head, body = await asyncio.wait_for(_read_response(reader), 0.5)
            assert head.startswith("HTTP/1.1 413")
            assert "\r\nconnection: close" in head
            assert json.loads(body)["error"]["code"] == "payload_too_large"
            assert await asyncio.wait_for(reader.read(), 5) == b""
        finally:
            await _close(writer)

    async def test_client_that_writes_first_still_reads_the_413(self, server_url: str) -> None:
        reader, writer = await _connect(server_url)
        try:
            writer.write(_head("/api/login", "Content-Length: 600000") + b"x" * 600_000)
            await writer.drain()
            head, _ = await asyncio.wait_for(_read_response(reader), 5)
            assert head.startswith("HTTP/1.1 413")
            assert await asyncio.wait_for(reader.read(), 5) == b""
        finally:
            await _close(writer)

    async def test_waiting_client_is_refused_without_delay(self, server_url: str) -> None:
        reader, writer = await _connect(server_url)
        try:
            writer.write(_head("/api/login", "Content-Length: 70000\r\nExpect: 100-continue"))
            raw = await asyncio.wait_for(reader.read(), 0.5)
            assert raw.startswith(b"HTTP/1.1 413")
            assert b"100 Continue" not in raw
        finally:
            await _close(writer)

    async def test_endless_chunked_body_is_cut_off(self, server_url: str) -> None:
        reader, writer = await _connect(server_url)
        sent = 0
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"

        async def upload() -> None:
            nonlocal sent
            writer.write(_head("/api/login", "Transfer-Encoding: chunked"))
            while True:
                writer.write(chunk)
                await writer.drain()
                sent += 4096

        uploading = asyncio.create_task(upload())
        try:
            head, body = await asyncio.wait_for(_read_response(reader), 5)
            assert head.startswith("HTTP/1.1 413")
            assert "\r\nx-request-id: " in head
            assert "\r\ncontent-security-policy: " in head
            assert json.loads(body)["error"]["code"] == "payload_too_large"
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(uploading, 10)
            # A mebibyte that is read, and what the system's buffers take: up to 32 each on a recent Linux.
            assert sent < 72 * 1024 * 1024
        finally:
            uploading.cancel()
            await _close(writer)

    async def test_chunked_body_within_the_limit_is_read(self, server_url: str) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b'{"email":"a@example.com",'
            yield b'"password":"secret"}'

        async with httpx.AsyncClient(base_url=server_url) as client:
            response = await client.post(
                "/api/login", content=chunks(), headers={"Content-Type": "application/json"}
            )
        assert response.status_code == 200

    async def test_late_failure_cuts_the_answer_short(self, server_url: str) -> None:
        async with httpx.AsyncClient(base_url=server_url) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/api/crash-late")
            assert (await client.get("/api/whoami")).status_code == 200


def _head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = httpx.URL(url)
    return await asyncio.open_connection(parts.host, parts.port)


async def _read_response(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().replace("http/", "HTTP/")
    length = next(
        int(line.partition(":")[2]) for line in head.splitlines() if line.startswith("content-length:")
    )
    return head, await reader.readexactly(length)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        return
