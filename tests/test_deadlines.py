"""The deadline of a transaction: its caller has an answer in time, and nothing of it stays behind."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from authapi import errors
from authapi.database import Database, _Deadline, hand_back_connection
from authapi.database_engines import CLOSE_SECONDS
from authapi.runtime import Runtime
from tests.support.accounts import Accounts
from tests.support.postgres import PostgresServer

TIMEOUT = 0.4
# The deadline, the end of the connection, and what a busy machine adds.
ANSWER_SECONDS = TIMEOUT * 1.25 + CLOSE_SECONDS + 0.5


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[Database]:
    """The server's own database, with short timeouts."""
    database = Database(postgres_server.url(), pool_size=2, timeout=timedelta(seconds=TIMEOUT))
    yield database
    await database.close()


@asynccontextmanager
async def frozen(server: PostgresServer) -> AsyncIterator[None]:
    await asyncio.to_thread(server.freeze)
    try:
        yield
    finally:
        await asyncio.to_thread(server.thaw)


async def idle(database: Database) -> bool:
    """Whether every connection is back within a moment."""
    for _ in range(100):
        if database.connections_in_use:
            await asyncio.sleep(2 * TIMEOUT / 100)
    return database.connections_in_use == 0


async def one(database: Database) -> object:
    async with database.unit_of_work(bounded=True) as db:
        return await db.scalar(text("SELECT 1"))


class TestBoundedUnitOfWork:
    async def test_at_its_end_the_caller_is_not_kept(
        self, postgres_server: PostgresServer, database: Database
    ) -> None:
        await one(database)

        async def work() -> None:
            async with database.unit_of_work(bounded=True) as db:
                await db.execute(text("SELECT 1"))
                await freeze.__aenter__()
                await db.execute(text("SELECT 2"))

        freeze = frozen(postgres_server)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await work()
        assert time.monotonic() - started < ANSWER_SECONDS
        await freeze.__aexit__(None, None, None)
        assert await idle(database)
        assert [await one(database) for _ in range(4)] == [1, 1, 1, 1]

    async def test_a_slow_server_is_not_a_silent_one(self, database: Database) -> None:
        async with database.unit_of_work(bounded=True) as db:
            for _ in range(4):
                await db.execute(text(f"SELECT pg_sleep({TIMEOUT / 2})"))
            assert await db.scalar(text("SELECT 2")) == 2

    async def test_but_there_is_an_end(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("authapi.database.DEADLINE_FACTOR", 2)

        async def dawdle() -> None:
            async with database.unit_of_work(bounded=True) as db:
                while True:
                    await db.execute(text("SELECT pg_sleep(0.05)"))

        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await dawdle()
        assert time.monotonic() - started < ANSWER_SECONDS + TIMEOUT
        assert await idle(database)
        assert await one(database) == 1

    async def test_time_without_a_transaction_does_not_count(self, database: Database) -> None:
        async with database.unit_of_work(bounded=True) as db:
            await db.execute(text("SELECT 1"))
            await hand_back_connection(db)
            await asyncio.sleep(2 * TIMEOUT)
            assert await db.scalar(text("SELECT 2")) == 2


async def test_a_deadline_that_strikes_as_the_transaction_ends_cancels_nothing_else() -> None:
    """Where the loop was held up: the answer has come, and so has the deadline, in the same turn."""
    deadline = _Deadline(0.01)
    async with deadline.timeout:
        deadline.start()
        time.sleep(0.05)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        deadline.stop()
        await asyncio.sleep(0.05)
    assert not deadline.timeout.expired()


async def test_requests_are_bounded(
    runtime: Runtime, accounts: Accounts, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runtime.database.is_sqlite:
        return  # its writers queue up, and nothing else makes them wait
    account = await accounts.register()
    monkeypatch.setattr(runtime.database, "_patience", 0.3)
    async with runtime.database.unit_of_work() as db:
        await db.execute(text("LOCK TABLE users"))
        started = time.monotonic()
        response = await client.get("/api/profile", headers=account.headers)
    assert time.monotonic() - started < 1.5
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.json()["error"]["code"] == errors.DatabaseUnavailable.code
    assert (await client.get("/api/profile", headers=account.headers)).status_code == 200
