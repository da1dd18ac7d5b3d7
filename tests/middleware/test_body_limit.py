import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from authapi.errors import PayloadTooLarge
from authapi.middleware import body_limit
from authapi.middleware.body_limit import BodyLimitMiddleware

LIMIT = 100


async def _reading_app(scope: Scope, receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


class Exchange:
    """One request against the raw ASGI interface: what was answered and how much of the body was taken."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.received = 0

    async def run(self, headers: Iterable[tuple[bytes, bytes]], chunks: list[bytes], **scope: Any) -> None:
        queue = list(chunks)

        async def receive() -> Message:
            self.received += 1
            body = queue.pop(0) if queue else b""
            return {"type": "http.request", "body": body, "more_body": bool(queue)}

        async def send(message: Message) -> None:
            self.sent.append(message)

        app = BodyLimitMiddleware(_reading_app, max_body_bytes=LIMIT, max_uri_bytes=LIMIT)
        base = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/", "query_string": b""}
        await app({**base, "headers": list(headers), **scope}, receive, send)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def code(self) -> str:
        body = b"".join(message.get("body", b"") for message in self.sent[1:])
        return str(json.loads(body)["error"]["code"])


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


class TestDeclaredBody:
    async def test_at_the_limit_passes(self, exchange: Exchange) -> None:
        await exchange.run([(b"content-length", b"100")], [b"x" * 100])
        assert exchange.status == 200
        assert exchange.sent[1]["body"] == b"100"

    async def test_over_the_limit_is_answered_before_reading(self, exchange: Exchange) -> None:
        await exchange.run([(b"content-length", b"101")], [b"x" * 101])
        assert (exchange.status, exchange.code) == (413, "payload_too_large")
        assert exchange.headers[b"connection"] == b"close"
        body = exchange.sent[1]
        assert body["body"]
        assert exchange.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    async def test_a_lie_about_the_length_is_still_counted(self, exchange: Exchange) -> None:
        await exchange.run([(b"content-length", b"1")], [b"x" * 60, b"x" * 60])
        assert exchange.status == 413

    @pytest.mark.parametrize(
        "value", [b"-1", b"+1", b"1.0", b"", b"1,1", b"0x10", b"1_0", b" 1", b"9" * 21, b"\xb2"]
    )
    async def test_malformed(self, exchange: Exchange, value: bytes) -> None:
        await exchange.run([(b"content-length", value)], [b""])
        assert (exchange.status, exchange.code) == (400, "bad_request")

    @pytest.mark.parametrize("second", [b"1", b"2"])
    async def test_twice(self, exchange: Exchange, second: bytes) -> None:
        await exchange.run([(b"content-length", b"1"), (b"content-length", second)], [b"x"])
        assert exchange.status == 400

    async def test_next_to_transfer_encoding(self, exchange: Exchange) -> None:
        await exchange.run([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], [b"x"])
        assert exchange.status == 400


class TestChunkedBody:
    async def test_at_the_limit_passes(self, exchange: Exchange) -> None:
        await exchange.run([], [b"x" * 50, b"x" * 50])
        assert exchange.status == 200

    async def test_over_the_limit(self, exchange: Exchange) -> None:
        await exchange.run([], [b"x" * 60] * 5)
        assert (exchange.status, exchange.code) == (413, "payload_too_large")
        assert exchange.headers[b"connection"] == b"close"
        assert exchange.received == 5

    async def test_no_more_than_a_mebibyte_is_dropped(
        self, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(body_limit, "_LINGER_SECONDS", 0.05)
        await exchange.run([], [b"x" * 65_536] * 100)
        assert exchange.status == 413
        assert exchange.received == 1 + 16

    async def test_no_connection_header_in_http2(self, exchange: Exchange) -> None:
        await exchange.run([], [b"x" * 101], http_version="2")
        assert exchange.status == 413
        assert b"connection" not in exchange.headers

    async def test_an_answer_that_has_begun_is_not_replaced(self) -> None:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"x" * 101, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        async def hasty_app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await receive()

        scope = {"type": "http", "path": "/", "headers": [], "query_string": b""}
        with pytest.raises(PayloadTooLarge):
            await BodyLimitMiddleware(hasty_app, max_body_bytes=LIMIT)(scope, receive, send)
        assert [message["type"] for message in sent] == ["http.response.start"]


class TestUri:
    @pytest.mark.parametrize(
        ("scope", "status"),
        [
            ({"path": "/" + "x" * 99}, 200),
            ({"path": "/" + "x" * 100}, 414),
            ({"path": "/", "query_string": b"x" * 100}, 414),
            ({"path": "/é", "raw_path": b"/%C3%A9" + b"x" * 100}, 414),
        ],
    )
    async def test_length(self, exchange: Exchange, scope: dict[str, Any], status: int) -> None:
        await exchange.run([], [b""], **scope)
        assert exchange.status == status
