"""Processes that write to one SQLite file: at once, killed, and on a file that is not there yet."""

import asyncio
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from authapi import migrations
from authapi.database import Database
from authapi.models import AuditEvent

KILLS = 25
PROCESSES, WRITERS = 4, 60


async def count(database: Database) -> int:
    async with database.reading() as db:
        return await db.scalar(select(func.count()).select_from(AuditEvent)) or 0


WRITERS_SCRIPT = """
import asyncio, os, secrets, signal, sqlite3, sys, time
from sqlalchemy.exc import TimeoutError as PoolExhausted
from authapi.database import Database
from authapi.models import AuditEvent

def say(*words):
    # At once: what `print` writes may be cut by the line of another process.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def write(database):
    while True:
        event = AuditEvent(action="test", outcome="success", details={})
        try:
            async with database.unit_of_work() as db:
                db.add(event)
        except PoolExhausted:
            # All of this process's connections wait for the others': answered with 503, and sent again.
            continue
        except Exception as error:
            say("failed", type(error).__name__, str(error).splitlines()[0])
        else:
            say(event.id)
        return

async def work(forever):
    database = Database("sqlite+aiosqlite:///" + path)
    while True:
        await asyncio.gather(*(write(database) for _ in range(writers)))
        if not forever:
            break
    await database.close()

def start(forever):
    # Forked, which spares each of them the imports; this process starts no thread of its own.
    pid = os.fork()
    if pid == 0:
        asyncio.run(work(forever))
        os._exit(0)
    return pid

path, task, number, writers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if task == "together":
    for pid in [start(forever=False) for _ in range(number)]:
        os.waitpid(pid, 0)
else:
    for _ in range(number):
        pid = start(forever=True)
        time.sleep(0.1 + secrets.randbelow(200) / 1000)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        connection = sqlite3.connect(path)
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            say("failed: the file is damaged")
        connection.close()
"""


async def run_writers(path: Path, task: str, *, processes: int, writers: int) -> list[str]:
    """Processes that write to a SQLite file `together`, or are `killed` one after the other.

    Returns what they printed: the id of each row that was committed, and `failed` with the reason.
    """
    arguments = [sys.executable, "-c", WRITERS_SCRIPT, str(path), task, str(processes), str(writers)]
    finished = await asyncio.to_thread(
        subprocess.run, arguments, check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )
    return [line for line in finished.stdout.splitlines() if line]


class TestSqlite:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "authapi.sqlite3"

    @pytest.fixture
    async def url(self, path: Path) -> str:
        url = f"sqlite+aiosqlite:///{path}"
        await migrations.upgrade(url)
        return url

    async def test_writers_of_four_processes_queue_up(self, url: str, path: Path) -> None:
        lines = await run_writers(path, "together", processes=PROCESSES, writers=WRITERS)
        assert [line for line in lines if line.startswith("failed")] == []
        database = Database(url)
        assert await count(database) == PROCESSES * WRITERS == len(lines)
        await database.close()

    async def test_what_was_acknowledged_survives_kills(self, url: str, path: Path) -> None:
        lines = await run_writers(path, "killed", processes=KILLS, writers=5)
        assert [line for line in lines if line.startswith("failed")] == []
        acknowledged = {UUID(line) for line in lines}
        assert len(acknowledged) > KILLS
        database = Database(url)
        async with database.reading() as db:
            present = set(await db.scalars(select(AuditEvent.id)))
        await database.close()
        assert acknowledged <= present

    async def test_foreign_keys_are_enforced(self, url: str) -> None:
        database = Database(url)
        with pytest.raises(IntegrityError):
            async with database.unit_of_work() as db:
                await db.execute(text("INSERT INTO user_roles VALUES ('nobody', 'nothing', '2026-01-01')"))
        await database.close()

    async def test_four_open_a_new_file_at_once(self, tmp_path: Path) -> None:
        """Switching a fresh file to the write-ahead log needs the file for itself."""
        for n in range(5):
            databases = [Database(f"sqlite+aiosqlite:///{tmp_path / f'{n}.sqlite3'}") for _ in range(4)]

            async def write(database: Database, n: int) -> None:
                async with database.unit_of_work() as db:
                    await db.execute(text(f"CREATE TABLE t{n} (id INTEGER)"))

            await asyncio.gather(*(write(database, n) for n, database in enumerate(databases)))
            for database in databases:
                await database.close()
