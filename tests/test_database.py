"""The unit of work, on both databases: what commits, what rolls back, and when a connection is held."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import Connection, event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.util import await_only

from authapi import errors
from authapi.database import Database, after_commit, hand_back_connection
from authapi.models import AuditEvent, User
from authapi.runtime import Runtime
from tests.support.accounts import PASSWORD, Accounts


def an_event() -> AuditEvent:
    return AuditEvent(action="test", outcome="success", details={})


async def count(database: Database) -> int:
    async with database.reading() as db:
        ours = select(func.count()).select_from(AuditEvent).where(AuditEvent.action == "test")
        return await db.scalar(ours) or 0


class Held:
    """How many connections the present task holds; background loops of the application do not count."""

    number = 0
    peak = 0


_HELD: ContextVar[Held | None] = ContextVar("held", default=None)


@contextmanager
def counted_connections(database: Database) -> Iterator[Held]:
    """Count what the block, and the tasks that it starts, check out and return."""

    def changed(step: int) -> Callable[..., None]:
        def change(*_: Any) -> None:
            held = _HELD.get()
            if held is not None:
                held.number += step
                held.peak = max(held.peak, held.number)

        return change

    pool, held = database.engine.pool, Held()
    checked_out, checked_in = changed(1), changed(-1)
    event.listen(pool, "checkout", checked_out)
    event.listen(pool, "checkin", checked_in)
    token = _HELD.set(held)
    try:
        yield held
    finally:
        _HELD.reset(token)
        event.remove(pool, "checkout", checked_out)
        event.remove(pool, "checkin", checked_in)


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

        with counted_connections(runtime.database) as held, pytest.raises(error):
            await fail()
        assert held.number == 0
        assert await count(runtime.database) == kept
        assert len(called) == kept

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

        with counted_connections(runtime.database) as held, pytest.raises(IntegrityError):
            await work()
        assert held.number == 0
        assert called == []
        assert await count(runtime.database) == 0

    async def test_reading_writes_nothing(self, runtime: Runtime) -> None:
        async with runtime.database.reading() as db:
            db.add(an_event())
            await db.flush()
        assert await count(runtime.database) == 0

    async def test_nor_does_it_lock_after_a_commit(self, runtime: Runtime) -> None:
        """On SQLite the next transaction of a reader would otherwise begin as a writer's."""
        async with runtime.database.reading() as db:
            await db.execute(text("SELECT 1"))
            await db.commit()
            async with runtime.database.unit_of_work() as other, asyncio.timeout(2):
                other.add(an_event())
                await other.flush()
                await db.execute(text("SELECT 1"))

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


class TestHandBackConnection:
    async def test_no_connection_is_held_while_a_password_is_hashed(
        self,
        client: httpx.AsyncClient,
        runtime: Runtime,
        accounts: Accounts,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        hashes: list[tuple[str, int]] = []
        for name in ("hash", "verify", "verify_dummy"):

            def probing(original: Any, name: str) -> Any:
                async def probe(*arguments: str) -> Any:
                    hashes.append((name, held.number))
                    result = await original(*arguments)
                    hashes.append((name, held.number))
                    return result

                return probe

            monkeypatch.setattr(runtime.hasher, name, probing(getattr(runtime.hasher, name), name))
        with counted_connections(runtime.database) as held:
            account = await accounts.register()
            await accounts.log_in(account)
            wrong = {"password": "wrong", "email": "nobody@example.com"}
            assert (await client.post("/api/auth/login", json=wrong)).status_code == 401
            again = {"password": PASSWORD}
            response = await client.post("/api/auth/reauthenticate", json=again, headers=account.headers)
            assert response.status_code == 200
            response = await client.request("DELETE", "/api/profile", json=again, headers=account.headers)
            assert response.status_code == 200
        assert [name for name, _ in hashes[::2]] == ["hash", "verify", "verify_dummy", "verify", "verify"]
        assert {number for _, number in hashes} == {0}
        assert held.peak == 1

    async def test_what_was_written_is_committed_and_what_was_read_stays(self, runtime: Runtime) -> None:
        written = an_event()

        async def fail() -> None:
            async with runtime.database.unit_of_work() as db:
                db.add(written)
                await hand_back_connection(db)
                assert (held.number, held.peak) == (0, 1)
                assert written.action == "test"
                raise RuntimeError

        with counted_connections(runtime.database) as held, pytest.raises(RuntimeError):
            await fail()
        assert await count(runtime.database) == 1


class TestPostgresql:
    async def test_a_statement_that_takes_too_long(self, runtime: Runtime) -> None:
        if runtime.database.is_sqlite:
            return  # has no statement that waits
        started = time.monotonic()
        with counted_connections(runtime.database) as held, pytest.raises((DBAPIError, TimeoutError)):
            async with runtime.database.unit_of_work() as db:
                await db.execute(text("SELECT pg_sleep(20)"))
        assert time.monotonic() - started < 4
        assert held.number == 0

    async def test_connections_that_died_while_they_rested(
        self, runtime: Runtime, request: pytest.FixtureRequest
    ) -> None:
        if runtime.database.is_sqlite:
            return  # there is no connection to lose
        server = request.getfixturevalue("postgres_server")
        database, other = Database(server.url(), pool_size=2), Database(server.url(), pool_size=1)
        async with database.unit_of_work() as first, database.unit_of_work() as second:
            pids = [await db.scalar(text("SELECT pg_backend_pid()")) for db in (first, second)]
        async with other.unit_of_work() as db:
            for pid in pids:
                await db.execute(text("SELECT pg_terminate_backend(:pid, 1000)"), {"pid": pid})
        for _ in pids:
            async with database.unit_of_work() as db:
                assert await db.scalar(text("SELECT pg_backend_pid()")) not in pids
        await database.close()
        await other.close()

    async def test_a_rested_connection_that_dies_as_it_is_asked(
        self, runtime: Runtime, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server has ended it, and the driver is just reading so."""
        if runtime.database.is_sqlite:
            return  # there is no connection to lose
        monkeypatch.setattr("authapi.database_engines.RESTED_SECONDS", 0.0)
        server = request.getfixturevalue("postgres_server")
        administrator = await asyncpg.connect(server.dsn())
        database = Database(server.url(), pool_size=1)
        pid = 0
        for _ in range(60):
            await administrator.execute("SELECT pg_terminate_backend($1)", pid)
            async with database.unit_of_work() as db:
                earlier, pid = pid, await db.scalar(text("SELECT pg_backend_pid()"))
            assert pid != earlier
        await database.close()
        await administrator.close()

    async def test_a_rested_connection_that_is_alive_stays(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if runtime.database.is_sqlite:
            return  # there is no connection to ask for
        monkeypatch.setattr("authapi.database_engines.RESTED_SECONDS", 0.0)
        pids = set()
        for _ in range(2 * runtime.database.pool_size):
            async with runtime.database.unit_of_work() as db:
                pids.add(await db.scalar(text("SELECT pg_backend_pid()")))
        assert len(pids) <= runtime.database.pool_size
