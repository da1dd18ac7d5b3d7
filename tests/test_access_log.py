import io
import json
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from authapi.access_log import ACCESS_LOG, NAME
from authapi.logs import LogFormat, configure_logging
from authapi.request_context import RequestContext
from tests.support.accounts import Accounts

CONTEXT = RequestContext(request_id="caller-0001", ip="2001:db8::1")


@pytest.fixture
async def stream() -> AsyncIterator[io.StringIO]:
    yield io.StringIO()
    configure_logging(format="json", level="info")


def write(stream: io.StringIO, *, format: LogFormat = "json", level: str = "info", **values: Any) -> str:
    configure_logging(format=format, level=level, stream=stream)
    line: dict[str, Any] = {"method": "GET", "route": "/api/users/{id}", "status": 200, "duration_ms": 1.5}
    ACCESS_LOG.write(CONTEXT, **(line | values))
    return stream.getvalue()


class TestLine:
    def test_says_when_who_what_and_how_long(self, stream: io.StringIO) -> None:
        line = json.loads(write(stream))
        assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
        assert line == {
            "level": "info",
            "logger": NAME,
            "event": "http.request",
            "request_id": "caller-0001",
            "ip": "2001:db8::1",
            "method": "GET",
            "route": "/api/users/{id}",
            "status": 200,
            "duration_ms": 1.5,
        }

    def test_is_json_whatever_it_is_given(self, stream: io.StringIO) -> None:
        line = json.loads(write(stream, method='G"}\nT', route='/"\n{x}', status=None))
        assert (line["method"], line["route"], line["status"]) == ("other", '/"\n{x}', None)
        assert stream.getvalue().count("\n") == 1

    def test_obeys_the_level(self, stream: io.StringIO) -> None:
        assert write(stream, level="warning") == ""
        configure_logging(format="json", level="info", stream=stream)
        ACCESS_LOG.write(CONTEXT, method="GET", route="/", status=200, duration_ms=1, level=logging.DEBUG)
        assert stream.getvalue() == ""

    def test_the_console_gets_it_in_its_own_format(self, stream: io.StringIO) -> None:
        text = write(stream, format="console")
        assert "http.request" in text
        assert "/api/users/{id}" in text
        assert not text.startswith("{")

    def test_a_full_disk_loses_the_line_and_not_the_request(self) -> None:
        class Full(io.StringIO):
            def write(self, _: str) -> int:
                raise OSError(28, "No space left on device")

        assert write(Full()) == ""


class TestRoutine:
    async def test_granted_questions_of_proxies_are_left_out(
        self, stream: io.StringIO, accounts: Accounts, client: httpx.AsyncClient
    ) -> None:
        account = await accounts.register()
        configure_logging(format="json", level="info", stream=stream)
        for _ in range(3):
            assert (await client.get("/verify", headers=account.headers)).status_code == 200
            assert (await client.get("/health/live")).status_code == 200
        assert stream.getvalue() == ""

    async def test_refused_ones_are_not(self, stream: io.StringIO, client: httpx.AsyncClient) -> None:
        configure_logging(format="json", level="info", stream=stream)
        assert (await client.get("/verify")).status_code == 401
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        assert [line["status"] for line in lines if line["event"] == "http.request"] == [401]
