import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from authapi import migrations
from authapi.enums import MailState
from tests.mail.conftest import MakeOutbox
from tests.support.command import clean_environment, command_line
from tests.support.outbox import Outbox
from tests.support.smtp_server import SmtpServer, smtp_server

# Commits a mail and, between that and its sending, dies as if by power cut.
CRASH = """
import asyncio, os, signal
from datetime import timedelta
from authapi.enums import MailKind
from authapi.runtime import Runtime
from authapi.services import mail_outbox
from authapi.settings import load_settings

async def main():
    runtime = Runtime.build(load_settings())
    async with runtime.database.unit_of_work() as db:
        await mail_outbox.enqueue(
            db, runtime, kind=MailKind.INVITATION, to="ada@example.com",
            recipient_canonical="ada@example.com", locale="en", user_id=None,
            context={"link": "https://auth.example.com/x", "lifetime": timedelta(days=7)},
        )
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    """A working directory whose database has the current schema."""
    (tmp_path / ".authapi").mkdir(mode=0o700)
    await migrations.upgrade(f"sqlite+aiosqlite:///{tmp_path / '.authapi' / 'authapi.sqlite3'}")
    return tmp_path


@asynccontextmanager
async def served(
    directory: Path, environment: dict[str, str], *, with_signal: signal.Signals = signal.SIGTERM
) -> AsyncIterator[Path]:
    """`authapi serve` as a process that ends by a signal; yields the file that it logs to."""
    log = directory / "log"
    with log.open("w") as stream:
        process = await asyncio.create_subprocess_exec(
            *command_line("serve", "--port", "0"),
            cwd=directory,
            env=environment,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield log
    finally:
        process.send_signal(with_signal)
        await process.wait()


class TestKilled:
    async def test_a_committed_mail_arrives_after_the_restart(self, directory: Path) -> None:
        async with smtp_server() as server:
            environment = clean_environment(AUTHAPI_MAIL__URL=server.url)
            killed = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CRASH, cwd=directory, env=environment
            )
            assert await killed.wait() == -signal.SIGKILL
            assert server.accepted == []
            async with served(directory, environment):
                (message,) = await server.wait_for(1, seconds=60)
            assert message["To"] == "ada@example.com"
            await asyncio.sleep(0.2)
            assert len(server.accepted) == 1

    async def test_a_service_that_is_killed_while_the_mail_server_is_down(self, directory: Path) -> None:
        async with smtp_server() as server:
            await server.stop()
            environment = clean_environment(AUTHAPI_MAIL__URL=server.url)
            killed = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CRASH, cwd=directory, env=environment
            )
            await killed.wait()
            async with served(directory, environment, with_signal=signal.SIGKILL) as log:
                async with asyncio.timeout(60):
                    while "mail.failing" not in log.read_text():  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.1)
            await server.start()
            async with served(directory, environment):
                await server.wait_for(1, seconds=60)


class TestKilledInTheMiddle:
    COUNT = 12

    async def test_every_mail_arrives_and_doubles_can_be_told(
        self, make_outbox: MakeOutbox, server: SmtpServer, tmp_path: Path
    ) -> None:
        """The server has taken mails whose 250 the service did not live to read: RFC 5321 section 4.5.3.2.6."""
        outbox = make_outbox(server.url)
        for number in range(self.COUNT):
            await outbox.enqueue(f"user{number}@example.com")
        server.mode, server.delay = "late", 0.3
        settings = outbox.runtime.settings
        assert settings.secret_key is not None
        environment = clean_environment(
            AUTHAPI_MAIL__URL=server.url,
            AUTHAPI_DATABASE__URL=settings.database_url,
            AUTHAPI_SECRET_KEY=settings.secret_key.get_secret_value(),
        )
        async with served(tmp_path, environment, with_signal=signal.SIGKILL):
            await server.wait_for(3, seconds=60)
        await asyncio.sleep(0.1)
        assert 3 <= len(server.accepted) < self.COUNT
        rows = await outbox.rows()
        under_way = [row.message_id for row in rows if row.claimed_until is not None]
        assert under_way, "it was killed in the middle of a conversation"
        await self.wait_until_claims_have_ended(outbox)
        server.mode = "ok"
        await outbox.deliver()
        async with asyncio.timeout(30):
            while {row.state for row in await outbox.rows()} != {MailState.SENT}:  # noqa: ASYNC110 - rows
                await asyncio.sleep(0.02)
        arrived = Counter(str(message["Message-ID"]) for message in server.messages)
        assert arrived.keys() == {row.message_id for row in rows}
        doubles = {message_id for message_id, count in arrived.items() if count > 1}
        assert doubles
        assert doubles <= set(under_way)
        assert len({str(message["To"]) for message in server.messages}) == self.COUNT

    @staticmethod
    async def wait_until_claims_have_ended(outbox: Outbox) -> None:
        """A minute passes: until then the mail could still be in the hands of another process."""
        await outbox.change(claimed_until=None)
