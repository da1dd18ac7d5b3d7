"""The unit of work, on both databases: what commits, what rolls back, and when a connection is held."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Connection, event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.util import await_only

from authapi import errors, migrations
from authapi.database import Database, after_commit, hand_back_connection
from authapi.models import AuditEvent, User
from authapi.runtime import Runtime
from tests.support.accounts import PASSWORD, Accounts

KILLS = 25
PROCESSES, WRITERS = 4, 60


def an_event() -> AuditEvent:
    return AuditEvent(action="test", outcome="success", details={})


async def count(database: Database) -> int:
    async with database.reading() as db:
        ours = select(func.count()).select_from(AuditEvent).where(AuditEvent.action == "test")
        return await db.scalar(ours) or 0


class Kept(errors.AuthApiError):
    keeps_writes = True


class Dropped(errors.AuthApiError):
    keeps_writes = False


def doom(connection: Connection) -> None:
    """Make the COMMIT of the running transaction fail, as a deferred constraint does."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "CREATE TEMP TABLE doom (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP"
        )
        connection.exec_driver_sql("INSERT INTO doom VALUES (1), (1)")
    else:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql("INSERT INTO user_roles VALUES ('nobody', 'nothing', '2026-01-01')")


class TestUnitOfWork:
    async def test_success_commits(self, runtime: Runtime) -> None:
        async with runtime.database.unit_of_work() as db:
            db.add(an_event())
        assert await count(runtime.database) == 1

    @pytest.mark.parametrize(
        ("error", "kept"),
        [(Kept, 1), (Dropped, 0), (RuntimeError, 0), (asyncio.CancelledError, 0), (errors.EmailTaken, 0)],
    )
    async def test_errors(self, runtime: Runtime, error: type[BaseException], kept: int) -> None:
        called: list[int] = []

        async def fail() -> None:
            async with runtime.database.unit_of_work() as db:
                db.add(an_event())
                await db.flush()
                after_commit(db, lambda: called.append(1))
                raise error

        with pytest.raises(error):
            await fail()
        assert await count(runtime.database) == kept
        assert len(called) == kept
        assert checked_out(runtime.database) == 0

    async def test_a_callback_runs_once_and_after_the_commit(self, runtime: Runtime) -> None:
        order: list[str] = []
        engine = runtime.database.engine.sync_engine

        def on_commit(_connection: Connection) -> None:
            order.append("commit")

        event.listen(engine, "commit", on_commit)
        try:
            async with runtime.database.unit_of_work() as db:
                db.add(an_event())
                after_commit(db, lambda: order.append("first"))
                await hand_back_connection(db)
                db.add(an_event())
                after_commit(db, lambda: order.append("second"))
        finally:
            event.remove(engine, "commit", on_commit)
        assert order == ["commit", "first", "commit", "second"]

    async def test_a_commit_that_fails_raises_and_calls_nothing(self, runtime: Runtime) -> None:
        called: list[int] = []

        async def work() -> None:
            async with runtime.database.unit_of_work() as db:
                db.add(an_event())
                await db.flush()
                await (await db.connection()).run_sync(doom)
                after_commit(db, lambda: called.append(1))

        with pytest.raises(IntegrityError):
            await work()
        assert called == []
        assert await count(runtime.database) == 0
        assert checked_out(runtime.database) == 0

    async def test_reading_writes_nothing(self, runtime: Runtime) -> None:
        async with runtime.database.reading() as db:
            db.add(an_event())
            await db.flush()
        assert await count(runtime.database) == 0

    async def test_readers_do_not_wait_for_a_writer(self, runtime: Runtime) -> None:
        async with runtime.database.unit_of_work() as db:
            db.add(an_event())
            await db.flush()
            async with asyncio.timeout(1):
                assert await count(runtime.database) == 0


class TestCommitOfARequest:
    """What was not committed is not answered with 2xx."""

    async def test_a_constraint_that_fails_at_commit(
        self, client: httpx.AsyncClient, runtime: Runtime
    ) -> None:
        with before_commit_of_registration(runtime, doom):
            response = await register(client)
        assert response.status_code == 500
        assert response.json()["success"] is False
        async with runtime.database.reading() as db:
            assert await db.scalar(select(func.count()).select_from(User)) == 0
        assert (await register(client)).status_code == 201

    async def test_a_connection_that_is_lost_at_commit(
        self, client: httpx.AsyncClient, runtime: Runtime, request: pytest.FixtureRequest
    ) -> None:
        if runtime.database.is_sqlite:
            return  # there is no connection to lose
        server = request.getfixturevalue("postgres_server")
        other = Database(server.url(), pool_size=1)

        async def end(pid: int) -> None:
            async with other.unit_of_work() as db:
                await db.execute(text("SELECT pg_terminate_backend(:pid, 1000)"), {"pid": pid})

        def lose(connection: Connection) -> None:
            await_only(end(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()))

        with before_commit_of_registration(runtime, lose):
            response = await register(client)
        assert response.status_code == 503
        assert response.headers["Retry-After"]
        assert (await register(client)).status_code == 201
        await other.close()


@contextmanager
def before_commit_of_registration(runtime: Runtime, spoil: Any) -> Iterator[None]:
    """Call `spoil` with the connection when the account has been written, once."""
    engine = runtime.database.engine.sync_engine
    todo = [spoil]

    def listener(connection: Connection, *arguments: Any) -> None:
        if arguments[1].startswith("INSERT INTO audit_events") and todo:
            todo.pop()(connection)

    event.listen(engine, "after_cursor_execute", listener)
    try:
        yield
    finally:
        event.remove(engine, "after_cursor_execute", listener)
    assert not todo


async def register(client: httpx.AsyncClient) -> httpx.Response:
    body = {"email": "ada@example.com", "password": PASSWORD, "full_name": "Ada"}
    return await client.post("/api/auth/register", json=body)


def checked_out(database: Database) -> int:
    number: int = database.engine.pool.checkedout()  # type: ignore[attr-defined]
    return number


class TestHandBackConnection:
    async def test_no_connection_is_held_while_a_password_is_hashed(
        self,
        client: httpx.AsyncClient,
        runtime: Runtime,
        accounts: Accounts,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        held: list[tuple[str, int]] = []
        for name in ("hash", "verify", "verify_dummy"):

            def probing(original: Any, name: str) -> Any:
                async def probe(*arguments: str) -> Any:
                    held.append((name, checked_out(runtime.database)))
                    result = await original(*arguments)
                    held.append((name, checked_out(runtime.database)))
                    return result

                return probe

            monkeypatch.setattr(runtime.hasher, name, probing(getattr(runtime.hasher, name), name))
        account = await accounts.register()
        await accounts.log_in(account)
        wrong = {"password": "wrong", "email": "nobody@example.com"}
        assert (await client.post("/api/auth/login", json=wrong)).status_code == 401
        again = {"password": PASSWORD}
        response = await client.post("/api/auth/reauthenticate", json=again, headers=account.headers)
        assert response.status_code == 200
        response = await client.request("DELETE", "/api/profile", json=again, headers=account.headers)
        assert response.status_code == 200
        assert [name for name, _ in held[::2]] == ["hash", "verify", "verify_dummy", "verify", "verify"]
        assert {number for _, number in held} == {0}

    async def test_what_was_written_is_committed_and_what_was_read_stays(self, runtime: Runtime) -> None:
        written = an_event()
        with pytest.raises(RuntimeError):  # noqa: PT012 - the block is the unit of work that fails
            async with runtime.database.unit_of_work() as db:
                db.add(written)
                await hand_back_connection(db)
                assert checked_out(runtime.database) == 0
                assert written.action == "test"
                raise RuntimeError
        assert await count(runtime.database) == 1


WRITERS_SCRIPT = """
import asyncio, os, secrets, signal, sqlite3, sys, time
from sqlalchemy.exc import TimeoutError as PoolExhausted
from authapi.database import Database
from authapi.models import AuditEvent

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
            print("failed", type(error).__name__, str(error).splitlines()[0], flush=True)
        else:
            print(event.id, flush=True)
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
            print("failed: the file is damaged", flush=True)
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
        # A line may have been cut off by a kill, and then joins the next.
        acknowledged = {UUID(line) for line in lines if len(line) == 36}
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


class TestPostgresql:
    async def test_a_statement_that_takes_too_long(self, runtime: Runtime) -> None:
        if runtime.database.is_sqlite:
            return  # has no statement that waits
        started = time.monotonic()
        with pytest.raises((DBAPIError, TimeoutError)):
            async with runtime.database.unit_of_work() as db:
                await db.execute(text("SELECT pg_sleep(20)"))
        assert time.monotonic() - started < 4
        assert checked_out(runtime.database) == 0
