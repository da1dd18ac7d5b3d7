import io
import json
import logging
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy
import structlog
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError

from authapi.logs import LogFormat, configure_logging
from authapi.redaction import REDACTED, describe_exception, redact
from tests.support.shell_app import build_shell

SECRET = "hunter2"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXdpdGgtc29tZS1sZW5ndGg"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What a JSON-logging process has written; afterwards logging goes to stderr again."""
    stream = io.StringIO()
    configure_logging(format="json", level="info", stream=stream)
    yield stream
    configure_logging(format="json", level="info")


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestJsonLines:
    def test_ours_and_theirs_look_alike(self, output: io.StringIO) -> None:
        with structlog.contextvars.bound_contextvars(request_id="r-1", ip="203.0.113.7"):
            structlog.stdlib.get_logger("authapi.test").info("user.login.succeeded", user_id=UUID(int=1))
            logging.getLogger("uvicorn.error").warning("%s failed", "something")
        ours, theirs = lines(output)
        assert list(ours) == ["timestamp", "level", "logger", "event", "request_id", "ip", "user_id"]
        assert ours["event"] == "user.login.succeeded"
        assert ours["user_id"] == str(UUID(int=1))
        assert theirs == {
            "timestamp": theirs["timestamp"],
            "level": "warning",
            "logger": "uvicorn.error",
            "event": "something failed",
            "request_id": "r-1",
            "ip": "203.0.113.7",
        }
        offset = datetime.fromisoformat(ours["timestamp"]).utcoffset()
        assert offset is not None
        assert offset.total_seconds() == 0

    def test_configuring_twice_writes_once(self, output: io.StringIO) -> None:
        configure_logging(format="json", level="info", stream=output)
        logging.getLogger("authapi.test").info("once")
        assert len(lines(output)) == 1

    @pytest.mark.parametrize("name", ["uvicorn.access", "sqlalchemy.engine", "httpx", "aiosqlite", "asyncio"])
    def test_talkative_libraries_are_quiet(self, output: io.StringIO, name: str) -> None:
        configure_logging(format="json", level="debug", stream=output)
        logging.getLogger(name).info("GET /?token=%s", SECRET)
        assert lines(output) == []

    def test_level(self, output: io.StringIO) -> None:
        configure_logging(format="json", level="warning", stream=output)
        structlog.stdlib.get_logger("authapi.test").info("quiet")
        structlog.stdlib.get_logger("authapi.test").warning("loud")
        assert [line["event"] for line in lines(output)] == ["loud"]

    def test_unknown_level(self) -> None:
        with pytest.raises(ValueError, match="LOUD"):
            configure_logging(format="json", level="loud")

    def test_default_stream_is_stderr_at_the_time_of_writing(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure_logging(format="auto", level="info")
        logging.getLogger("authapi.test").info("hello")
        captured = capsys.readouterr()
        assert json.loads(captured.err)["event"] == "hello"
        assert captured.out == ""

    def test_full_disk_does_not_fail_the_request(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Full(io.StringIO):
            def write(self, text: str) -> int:
                raise OSError(28, "No space left on device")

        configure_logging(format="json", level="info", stream=Full())
        logging.getLogger("authapi.test").info("login of %s", SECRET)
        assert capsys.readouterr().err == ""
        configure_logging(format="json", level="info")

    async def test_a_crashing_request_logs_frames_and_no_secret(self, output: io.StringIO) -> None:
        app = build_shell()
        configure_logging(format="json", level="info", stream=output)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://test"
        ) as client:
            headers = {"X-Request-ID": "caller-0001", "Authorization": f"Bearer {JWT}"}
            await client.get(f"/api/crash?token={SECRET}", headers=headers)
        error, access = lines(output)
        assert (error["event"], error["level"]) == ("http.unhandled_error", "error")
        assert error["exception"].endswith("RuntimeError")
        assert "shell_app.py" in error["exception"]
        assert " in crash" in error["exception"]
        assert (access["event"], access["status"], access["route"]) == ("http.request", 500, "/api/crash")
        assert {line["request_id"] for line in (error, access)} == {"caller-0001"}
        for secret in (SECRET, JWT, "authapi_rt_"):
            assert secret not in output.getvalue()


class TestFormats:
    @pytest.mark.parametrize(
        ("format", "stream", "is_json"),
        [
            ("auto", io.StringIO(), True),
            ("auto", Terminal(), False),
            ("json", Terminal(), True),
            ("console", io.StringIO(), False),
        ],
    )
    def test_choice(self, format: LogFormat, stream: io.StringIO, is_json: bool) -> None:
        configure_logging(format=format, level="info", stream=stream)
        logging.getLogger("authapi.test").info("hello")
        configure_logging(format="json", level="info")
        assert "hello" in stream.getvalue()
        assert stream.getvalue().startswith("{") is is_json

    @pytest.mark.parametrize("format", ["json", "console"])
    def test_nothing_forges_a_line_or_moves_the_cursor(self, format: LogFormat) -> None:
        stream = io.StringIO()
        configure_logging(format=format, level="info", stream=stream)
        evil = "a\r\n2026 [error] forged\x1b[2J\x00\u2028\u202e\x9b"
        structlog.stdlib.get_logger("authapi.test").info(evil, name=evil, **{evil: [evil], "x": {evil: evil}})
        logging.getLogger("uvicorn.error").info("%s", evil)
        configure_logging(format="json", level="info")
        written = stream.getvalue()
        assert len(written.splitlines()) == 2
        assert all(character.isprintable() or character == "\n" for character in written)

    def test_console_shows_tracebacks_on_several_lines(self) -> None:
        stream = io.StringIO()
        configure_logging(format="console", level="info", stream=stream)
        try:
            raise ValueError(SECRET)
        except ValueError:
            structlog.stdlib.get_logger("authapi.test").exception("failed")
            logging.getLogger("uvicorn.error").exception("failed too")
        configure_logging(format="json", level="info")
        assert stream.getvalue().count("test_logs.py:") == 2
        assert stream.getvalue().count("\nValueError") == 2
        assert SECRET not in stream.getvalue()


class Color(StrEnum):
    RED = "red"


class Model(BaseModel):
    password: str


class TestRedact:
    @pytest.mark.parametrize(
        "key",
        [
            *("password", "new_password", "current_password", "Password", "password_hash", "token_hash"),
            *(
                "token",
                "access_token",
                "refresh_token",
                "device_token",
                "mfa_token",
                "code",
                "recovery_codes",
            ),
            *("secret", "client_secret", "secret_key", "SECRET-KEY", "otpauth_uri", "pepper"),
            *("Authorization", "cookie", "Set-Cookie"),
        ],
    )
    def test_secret_keys_at_any_depth(self, key: str) -> None:
        value = redact({"a": [{key: SECRET}], "b": ({"c": {key: [SECRET]}},), key: {"x": SECRET}})
        assert SECRET not in str(value)
        assert value[key] == REDACTED

    @pytest.mark.parametrize(
        "key", ["error_code", "status_code", "token_type", "user_id", "event", "password_age"]
    )
    def test_harmless_keys_stay(self, key: str) -> None:
        assert redact({key: "bearer"}) == {key: "bearer"}

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (f"Authorization: Bearer {JWT}", f"Authorization: Bearer {REDACTED}"),
            ("bearer abcdefghijkl", f"bearer {REDACTED}"),
            ("Basic dXNlcjpwYXNz", f"Basic {REDACTED}"),
            ("got authapi_rt_0123456789abcdef here", f"got {REDACTED} here"),
            (f"jwt {JWT}.", f"jwt {REDACTED}."),
            ("/verify?token=abc&x=1", f"/verify?token={REDACTED}&x=1"),
            ("/p?a=1&refresh_token=abc", f"/p?a=1&refresh_token={REDACTED}"),
            ("postgresql+asyncpg://u:p%40ss@db/x", f"postgresql+asyncpg://u:{REDACTED}@db/x"),
            ("redis://:pw@host", f"redis://:{REDACTED}@host"),
            ("$2b$12$" + "a" * 53, REDACTED),
            ("a basic sentence on bearer tokens", "a basic sentence on bearer tokens"),
        ],
    )
    def test_secrets_in_text(self, text: str, shown: str) -> None:
        assert redact(text) == shown

    def test_plain_values(self) -> None:
        values = [None, True, 1, 1.5, Color.RED, UUID(int=1), Path("/tmp/x")]
        assert redact(values) == [None, True, 1, 1.5, "red", str(UUID(int=1)), "/tmp/x"]

    def test_objects_are_only_named(self) -> None:
        assert redact([Model(password=SECRET), b"hunter2", ValueError(SECRET)]) == [
            "<Model>",
            "<bytes>",
            "ValueError",
        ]

    def test_depth_and_length_are_bounded(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        assert "…" in str(redact(endless))
        assert len(redact("x" * 100_000)) == 8_192

    def test_hostile_text_costs_little(self) -> None:
        for text in ("://" * 3_000, "eyJ" * 3_000, "?token" * 2_000, "Bearer " * 2_000, "&" + "a_" * 5_000):
            assert redact(text)


class TestDescribeException:
    def test_chain_without_messages(self) -> None:
        try:
            try:
                sqlite3.connect(":memory:").execute("SELECT * FROM missing")
            except sqlite3.OperationalError as error:
                raise RuntimeError(SECRET) from error
        except RuntimeError as error:
            text = describe_exception(error)
        first, second = text.index("sqlite3.OperationalError [SQLITE_ERROR]"), text.index("RuntimeError")
        assert first < second
        assert SECRET not in text
        assert "missing" not in text

    def test_parameters_of_a_statement(self) -> None:
        engine = sqlalchemy.create_engine("sqlite://")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE t (p TEXT UNIQUE)"))
            insert = sqlalchemy.text("INSERT INTO t VALUES (:p)")
            connection.execute(insert, {"p": SECRET})
            with pytest.raises(IntegrityError) as caught:
                connection.execute(insert, {"p": SECRET})
        engine.dispose()
        assert SECRET in str(caught.value)
        text = describe_exception(caught.value)
        assert "sqlalchemy.exc.IntegrityError" in text
        assert "SQLITE_CONSTRAINT_UNIQUE" in text
        assert SECRET not in text

    def test_errno_is_shown(self) -> None:
        assert describe_exception(ConnectionRefusedError(111, "Connection refused")) == (
            "ConnectionRefusedError [Connection refused]"
        )

    def test_circular_chain_ends(self) -> None:
        first, second = ValueError(), KeyError()
        first.__cause__, second.__cause__ = second, first
        assert describe_exception(first).splitlines() == ["KeyError", "ValueError"]
