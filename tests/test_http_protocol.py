"""The bounds on a request's head, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from authapi import http_protocol
from authapi.http_protocol import BoundedHttpProtocol

HEAD_SECONDS = 0.3
BODY_SECONDS = 0.3
WRITE_SECONDS = 0.2
LARGE = 32 * 1024 * 1024
REQUEST = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"


async def answer_ok(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/read":
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        if message["type"] == "http.disconnect":
            return
    if scope["path"] == "/large":
        length = str(LARGE).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": b"a" * LARGE})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server whose clients have `HEAD_SECONDS` for a head."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", HEAD_SECONDS)
    monkeypatch.setattr(http_protocol, "BODY_SECONDS", BODY_SECONDS)
    monkeypatch.setattr(http_protocol, "WRITE_SECONDS", WRITE_SECONDS)
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


class TestPipeline:
    async def test_some_requests_at_once_are_served(self, port: int) -> None:
        answer = await exchange(port, 10 * REQUEST + head(0) + b"\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200") == 11

    async def test_thousands_are_not_taken_apart(self, port: int) -> None:
        before = http_protocol.PROGRESS.events
        # Closed with most of it unread, which may cost the client the answer.
        answer = await exchange(port, 5000 * REQUEST)
        assert answer.count(b"HTTP/1.1 200") <= http_protocol.MOST_PIPELINED
        assert http_protocol.PROGRESS.events - before < 100


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


class TestSlowBody:
    HEAD = b"POST /read HTTP/1.1\r\nHost: example.org\r\nContent-Length: 100\r\n\r\n"

    async def test_the_connection_is_closed(self, port: int) -> None:
        assert await exchange(port, self.HEAD) == b""

    async def test_bytes_now_and_then_do_not_help(self, port: int) -> None:
        started = asyncio.get_running_loop().time()
        await exchange(port, self.HEAD, *[b"a"] * 6, pause=BODY_SECONDS / 4)
        assert asyncio.get_running_loop().time() - started < 4 * BODY_SECONDS

    async def test_an_answer_does_not_end_the_wait(self, port: int) -> None:
        head = self.HEAD.replace(b"/read", b"/")
        answer = await exchange(port, head, *[b"a"] * 6, pause=BODY_SECONDS / 4)
        assert answer.count(b"HTTP/1.1 200") <= 1

    async def test_in_time_it_is_served(self, port: int) -> None:
        head = self.HEAD.replace(b"Host", b"Connection: close\r\nHost")
        answer = await exchange(port, head, b"a" * 50, b"a" * 50, pause=BODY_SECONDS / 3)
        assert answer.startswith(b"HTTP/1.1 200")


class TestSlowReader:
    async def test_who_does_not_read_loses_the_connection(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(REQUEST.replace(b"GET /", b"GET /large"))
        await asyncio.sleep(3 * WRITE_SECONDS)
        assert len(await _read_all(reader)) < LARGE
        writer.close()

    async def test_who_reads_gets_it_all(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST.replace(b"GET /", b"GET /large"))
        received = len(await reader.readuntil(b"\r\n\r\n"))
        for part in range(8):
            received += len(await reader.readexactly(LARGE // 8))
            await asyncio.sleep(WRITE_SECONDS / 3 if part < 6 else 0)
        assert received > LARGE
        writer.close()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


class TestFullHouse:
    async def test_a_newcomer_takes_the_place_of_who_waits_longest(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(BoundedHttpProtocol, "max_connections", 3)
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert (await exchange(port, head(0) + b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await asyncio.wait_for(_read_all(idle[0][0]), HEAD_SECONDS / 2) == b""
        idle[2][1].write(REQUEST)
        assert (await idle[2][0].readline()).startswith(b"HTTP/1.1 200")
        for _, writer in idle:
            writer.close()

    async def test_requests_under_way_keep_their_place(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(BoundedHttpProtocol, "max_connections", 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(TestSlowBody.HEAD)
        await asyncio.sleep(0.05)
        assert await exchange(port, REQUEST) == b""
        writer.write(b"a" * 100)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
