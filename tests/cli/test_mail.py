import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from authapi.enums import MailKind
from authapi.runtime import Runtime
from authapi.services import mail_outbox
from authapi.settings import load_settings
from tests.cli.conftest import Command


@pytest.fixture
def dead_mail(migrated: Path) -> None:
    """A mail in the outbox that the server has refused."""

    async def enqueue() -> None:
        runtime = Runtime.build(load_settings())
        async with runtime.database.unit_of_work() as db:
            await mail_outbox.enqueue(
                db,
                runtime,
                kind=MailKind.INVITATION,
                to="Ada@example.com",
                recipient_canonical="ada@example.com",
                locale="en",
                user_id=None,
                context={"link": "https://auth.example.com/x?token=t0ps3cret", "lifetime": timedelta(days=7)},
            )
        await runtime.close()

    asyncio.run(enqueue())
    change(migrated, "state = 'dead', attempts = 1, last_error = 'SMTPRecipientsRefused 550'")


def change(directory: Path, values: str) -> None:
    connection = sqlite3.connect(directory / ".authapi" / "authapi.sqlite3")
    with connection:
        connection.execute(f"UPDATE mail_messages SET {values}")  # noqa: S608 - the test's own words
    connection.close()


def rows(command: Command, *options: str) -> list[dict[str, str]]:
    result = command("mail", "list", *options)
    assert result.exit_code == 0, result.output
    assert "t0ps3cret" not in result.output
    header, *lines = [line.split("\t") for line in result.stdout.splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


@pytest.mark.usefixtures("dead_mail")
class TestMail:
    def test_list(self, command: Command) -> None:
        (row,) = rows(command)
        assert (row["kind"], row["recipient"], row["state"]) == ("invitation", "ada@example.com", "dead")
        assert row["last_error"] == "SMTPRecipientsRefused 550"
        assert rows(command, "--state", "sent") == []
        assert len(rows(command, "--state", "dead")) == 1

    @pytest.mark.parametrize("by_id", [True, False])
    def test_retry(self, command: Command, by_id: bool) -> None:
        (row,) = rows(command)
        result = command("mail", "retry", row["id"] if by_id else "--all")
        assert result.exit_code == 0, result.output
        assert result.stderr == "1 mails will be tried again.\n"
        (row,) = rows(command)
        assert (row["state"], row["attempts"]) == ("pending", "0")

    def test_a_sent_mail_is_not_sent_again(self, command: Command, migrated: Path) -> None:
        change(migrated, "state = 'sent', sent_at = created_at")
        (row,) = rows(command)
        assert row["next_attempt_at"] == ""
        result = command("mail", "retry", row["id"])
        assert result.exit_code == 1
        assert "there is no such mail, or it was sent" in result.stderr

    @pytest.mark.parametrize("arguments", [[], ["01981d5a-6c0e-7cc3-98c4-dc0c0c07398f", "--all"], ["x"]])
    def test_wrong_usage(self, command: Command, arguments: list[str]) -> None:
        assert command("mail", "retry", *arguments).exit_code == 2
