"""`authapi audit`: the first thing that was touched is named, and an export is JSON lines."""

import asyncio
import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import pytest
import time_machine

from authapi.enums import AuditAction, Outcome
from authapi.runtime import Runtime
from authapi.services import audit, audit_chain
from authapi.settings import load_settings
from tests.cli.conftest import Command
from tests.support.command import clean_environment, command_line

COUNT = 12
AT = "2026-03-{:02}T12:00:00+00:00"


async def write(numbers: range, *, is_sealed: bool = True) -> None:
    """One event a day, by the working directory's settings."""
    runtime = Runtime.build(load_settings())
    async with runtime.database.unit_of_work() as db:
        for number in numbers:
            with time_machine.travel(AT.format(number), tick=False):
                await audit.record(
                    db,
                    AuditAction.USER_LOGIN_FAILED,
                    outcome=Outcome.FAILURE,
                    subject_id=UUID(int=number),
                    details={"text": 'two\nlines, "quotes", ✓'},
                )
                await db.flush()
        if is_sealed:
            await audit_chain.seal(db, runtime)
    await runtime.close()


@pytest.fixture
def trail(migrated: Path) -> Path:
    """A sealed trail of an event for each of the first days of March."""
    asyncio.run(write(range(1, COUNT + 1)))
    return migrated


def tamper(directory: Path, *statements: str) -> None:
    """As somebody would who can write to the database, past authapi."""
    with closing(sqlite3.connect(directory / ".authapi" / "authapi.sqlite3")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement


def id_at(directory: Path, sequence: int) -> str:
    with closing(sqlite3.connect(directory / ".authapi" / "authapi.sqlite3")) as connection:
        (row,) = connection.execute("SELECT id FROM audit_events WHERE sequence = ?", (sequence,)).fetchone()
    return str(UUID(row))


def exported(text: str) -> list[int]:
    """The places of exported events: each line is one JSON document."""
    return [json.loads(line)["sequence"] for line in text.removesuffix("\n").split("\n")] if text else []


class TestVerify:
    def test_an_untouched_trail(self, command: Command, trail: Path) -> None:
        result = command("audit", "verify")
        assert (result.exit_code, result.stdout) == (0, f"{COUNT} events, nothing was touched\n")

    def test_an_empty_one(self, command: Command, migrated: Path) -> None:
        result = command("audit", "verify")
        assert (result.exit_code, result.stdout) == (0, "0 events, nothing was touched\n")

    def test_what_is_not_sealed_yet_was_not_checked(self, command: Command, trail: Path) -> None:
        asyncio.run(write(range(COUNT + 1, COUNT + 4), is_sealed=False))
        result = command("audit", "verify")
        assert (result.exit_code, result.stdout) == (
            0,
            f"{COUNT} events, nothing was touched; 3 are not sealed yet: a running service seals them\n",
        )

    def test_many_that_are_not_sealed(
        self, command: Command, trail: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_chain, "UNSEALED_COUNTED", 2)
        asyncio.run(write(range(COUNT + 1, COUNT + 4), is_sealed=False))
        assert "; 2 or more are not sealed yet" in command("audit", "verify").stdout

    def test_a_changed_event_is_the_first_bad_one(self, command: Command, trail: Path) -> None:
        tamper(
            trail,
            "UPDATE audit_events SET outcome = 'success' WHERE sequence = 5",
            "UPDATE audit_events SET ip = '192.0.2.1' WHERE sequence = 9",
        )
        result = command("audit", "verify")
        assert (result.exit_code, result.stdout) == (1, "")
        expected = f"error: at place 5: event {id_at(trail, 5)} was changed; 4 before it fit\n"
        assert result.stderr == expected

    @pytest.mark.parametrize("place", [1, 5, COUNT])
    def test_a_removed_event(self, command: Command, trail: Path, place: int) -> None:
        tamper(trail, f"DELETE FROM audit_events WHERE sequence = {place}")  # noqa: S608 - a number of ours
        result = command("audit", "verify")
        assert result.exit_code == 1
        assert result.stderr == f"error: at place {place}: an event was removed; {place - 1} before it fit\n"

    def test_reordered_events(self, command: Command, trail: Path) -> None:
        tamper(
            trail,
            "UPDATE audit_events SET sequence = 1000 WHERE sequence = 5",
            "UPDATE audit_events SET sequence = 5 WHERE sequence = 6",
            "UPDATE audit_events SET sequence = 6 WHERE sequence = 1000",
        )
        result = command("audit", "verify")
        assert result.exit_code == 1
        assert f"at place 5: event {id_at(trail, 5)} was changed" in result.stderr

    def test_an_event_at_the_end_that_was_made_up(self, command: Command, trail: Path) -> None:
        columns = (
            "occurred_at, action, outcome, reason, actor_id, subject_id, user_session_id, ip, user_agent,"
            " request_id, details, chain_hash, personal_hash, anonymised_at"
        )
        tamper(
            trail,
            f"INSERT INTO audit_events (id, sequence, {columns}) "  # noqa: S608 - the test's own words
            f"SELECT '{'0' * 32}', {COUNT + 1}, {columns} FROM audit_events WHERE sequence = {COUNT}",
        )
        result = command("audit", "verify")
        assert result.exit_code == 1
        assert f"at place {COUNT + 1}: " in result.stderr


class TestExport:
    def test_every_event_is_a_line(self, command: Command, trail: Path) -> None:
        result = command("audit", "export")
        assert (result.exit_code, result.stderr) == (0, "")
        assert exported(result.stdout) == list(range(1, COUNT + 1))
        first = json.loads(result.stdout.partition("\n")[0])
        assert first["id"] == id_at(trail, 1)
        assert first["occurred_at"] == AT.format(1)
        assert (first["action"], first["outcome"]) == ("user.login.failed", "failure")
        assert first["subject_id"] == str(UUID(int=1))
        assert first["details"] == {"text": 'two\nlines, "quotes", ✓'}
        assert len(bytes.fromhex(first["chain_hash"])) == 32

    def test_an_empty_trail(self, command: Command, migrated: Path) -> None:
        result = command("audit", "export")
        assert (result.exit_code, result.output) == (0, "")

    def test_what_is_not_sealed_yet_is_not_exported(self, command: Command, migrated: Path) -> None:
        asyncio.run(write(range(1, 2), is_sealed=False))
        result = command("audit", "export")
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == "1 events are left out, not sealed yet: a running service seals them.\n"

    @pytest.mark.parametrize(
        ("since", "first"),
        [
            ("2026-03-05", 5),
            ("2026-03-05T12:00:00Z", 5),
            ("2026-03-05T12:00:01Z", 6),
            ("2026-03-05T14:30:00+02:00", 6),
            ("2020-01-01", 1),
            ("2030-01-01", COUNT + 1),
        ],
    )
    def test_since(self, command: Command, trail: Path, since: str, first: int) -> None:
        result = command("audit", "export", "--since", since)
        assert result.exit_code == 0
        assert exported(result.stdout) == list(range(first, COUNT + 1))

    def test_follow_goes_on_with_what_comes_in(self, trail: Path) -> None:
        with following(trail, "--since", "2026-03-10") as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            asyncio.run(write(range(COUNT + 1, COUNT + 3)))
            lines += [process.stdout.readline() for _ in range(2)]
            assert exported("".join(lines)) == list(range(10, COUNT + 3))
            process.send_signal(signal.SIGINT)
            rest, complaints = process.communicate(timeout=20)
        assert rest == ""
        assert "Traceback" not in complaints


@contextmanager
def following(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running `authapi audit export --follow`."""
    process = subprocess.Popen(
        command_line("audit", "export", "--follow", *arguments),
        cwd=directory,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["verify", "extra"],
            ["verify", "--since", "2026-03-05"],
            ["export", "extra"],
            ["export", "--since"],
            ["export", "--since", "yesterday"],
            ["export", "--since", "2026-13-05"],
            ["export", "--since", ""],
            ["export", "--follow=maybe"],
        ],
    )
    def test_nonsense_is_refused(self, command: Command, migrated: Path, arguments: list[str]) -> None:
        result = command("audit", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Error: " in result.stderr
