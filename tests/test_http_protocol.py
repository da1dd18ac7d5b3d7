"""The bounds on a request's head, over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from uvicorn.server import ServerState

from authapi import http_protocol
from authapi.http_protocol import BoundedHttpProtocol

HEAD_SECONDS = 0.3
REQUEST = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"


async def answer_ok(scope: object, receive: object, send: object) -> None:
    assert callable(send)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server whose clients have `HEAD_SECONDS` for a head."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", HEAD_SECONDS)
    config = uvicorn.Config(answer_ok, http=BoundedHttpProtocol, ws="none", log_config=None, lifespan="off")
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedHttpProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        for connection in list(state.connections):
            connection.shutdown()


async def exchange(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What comes back, until the server closes the connection, for pieces sent with pauses after each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 10 * HEAD_SECONDS)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def head(size: int) -> bytes:
    """A request whose head has about that many bytes in headers of moderate length."""
    line = b"X-Padding: " + b"a" * 989
    return b"\r\n".join(
        [b"GET / HTTP/1.1", b"Host: example.org", b"Connection: close", *[line] * (size // 1000)]
    )


class TestLongHead:
    async def test_what_fits_is_served(self, port: int) -> None:
        assert (await exchange(port, head(15_000) + b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

    async def test_in_one_piece(self, port: int) -> None:
        assert (await exchange(port, head(20_000) + b"\r\n\r\n")).startswith(b"HTTP/1.1 400")

    async def test_a_long_url(self, port: int) -> None:
        request = b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: example.org\r\n\r\n"
        assert (await exchange(port, request)).startswith(b"HTTP/1.1 400")

    async def test_a_value_without_end(self, port: int) -> None:
        answer = await exchange(port, b"GET / HTTP/1.1\r\nX: ", *[b"a" * 4000] * 5, pause=0.01)
        assert answer.startswith(b"HTTP/1.1 400")

    async def test_each_request_of_a_connection_counts_anew(self, port: int) -> None:
        first = head(12_000).replace(b"Connection: close\r\n", b"") + b"\r\n\r\n"
        answer = await exchange(port, first, head(12_000) + b"\r\n\r\n", pause=0.05)
        assert answer.count(b"HTTP/1.1 200") == 2


class TestSlowHead:
    @pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HTTP/1.1\r\nX-Slow: "])
    async def test_the_connection_is_closed(self, port: int, sent: bytes) -> None:
        assert await exchange(port, sent) == b""

    async def test_bytes_now_and_then_do_not_help(self, port: int) -> None:
        started = asyncio.get_running_loop().time()
        await exchange(port, b"GET / HTTP/1.1\r\nX: ", *[b"a"] * 6, pause=HEAD_SECONDS / 4)
        assert asyncio.get_running_loop().time() - started < 4 * HEAD_SECONDS

    async def test_line_breaks_after_a_request_do_not_help(self, port: int) -> None:
        answer = await exchange(port, REQUEST, b"\r\n", pause=0.05)
        assert answer.count(b"HTTP/1.1 200") == 1

    async def test_a_request_after_a_while_is_served(self, port: int) -> None:
        answer = await exchange(port, REQUEST, head(0) + b"\r\n\r\n", pause=2 * HEAD_SECONDS)
        assert answer.count(b"HTTP/1.1 200") == 2
