import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import IntegrityError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from authapi.errors import UserNotFound
from authapi.middleware.unhandled_errors import UnhandledErrorsMiddleware

HTTP: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}


def _raising(error: BaseException, *, late: bool = False) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if late:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    return app


async def _run(app: Any) -> tuple[list[Message], list[dict[str, Any]]]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    with structlog.testing.capture_logs() as lines:
        await UnhandledErrorsMiddleware(app)(HTTP, receive, send)
    return sent, [dict(line) for line in lines]


class TestUnhandledErrors:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: RuntimeError("hunter2"),
            lambda: KeyError("hunter2"),
            RecursionError,
            lambda: IntegrityError("INSERT", {"password": "hunter2"}, Exception("hunter2")),
            lambda: ExceptionGroup("several", [ValueError("hunter2")]),
        ],
    )
    async def test_becomes_a_500_without_content(self, make: Callable[[], Exception]) -> None:
        sent, lines = await _run(_raising(make()))
        assert sent[0]["status"] == 500
        assert b"internal_error" in sent[1]["body"]
        assert b"hunter2" not in sent[1]["body"]
        (line,) = lines
        assert (line["log_level"], line["event"]) == ("error", "http.unhandled_error")

    async def test_known_errors_keep_their_status(self) -> None:
        sent, lines = await _run(_raising(UserNotFound()))
        assert sent[0]["status"] == 404
        assert [(line["event"], line["error_code"]) for line in lines] == [("http.refused", "user_not_found")]

    async def test_started_response_is_not_completed(self) -> None:
        with pytest.raises(RuntimeError, match="late"):
            await _run(_raising(RuntimeError("late"), late=True))

    async def test_client_that_left_is_no_error(self) -> None:
        sent, lines = await _run(_raising(ClientDisconnect()))
        assert sent == []
        assert [line["log_level"] for line in lines] == ["debug"]

    async def test_cancellation_passes(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            await _run(_raising(asyncio.CancelledError()))
