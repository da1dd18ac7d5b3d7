import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from authapi import migrations
from tests.support.command import clean_environment, command_line
from tests.support.smtp_server import smtp_server

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
