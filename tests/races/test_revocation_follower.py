"""The follower: no revocation is missed, and without it nothing is allowed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, event, func, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection

from authapi import clock, migrations
from authapi.database import Database
from authapi.models import Revocation
from authapi.models.base import new_id
from authapi.repositories import revocations
from authapi.runtime import Runtime
from authapi.services import logout
from authapi.services.revocation_follower import RevocationFollower
from tests.conftest import MakeApp, http_client, make_settings, running_app
from tests.support.accounts import Account, Accounts
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.processes import scratch_directory

ME = "/api/auth/me"


async def publish(database: Database, *ids: UUID) -> None:
    async with database.unit_of_work() as db:
        await revocations.add_sessions(
            db, ids, expires_at=clock.utc_now() + timedelta(hours=1), created_at=clock.utc_now()
        )


async def publish_elsewhere(url: str, *ids: UUID) -> None:
    database = Database(url, pool_size=1)
    await publish(database, *ids)
    await database.close()


class Reader:
    """A second process's view: a follower that reads only when told to."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = Runtime.build(runtime.settings)
        self.follower = RevocationFollower(self.runtime)

    async def sees(self, *ids: UUID) -> list[bool]:
        await self.follower.read_on()
        known = self.runtime.revocations._sessions
        return [str(id) in known for id in ids]

    async def close(self) -> None:
        await self.follower.stop()
        await self.runtime.close()


@pytest.fixture
async def reader(runtime: Runtime) -> AsyncIterator[Reader]:
    reader = Reader(runtime)
    yield reader
    await reader.close()


@pytest.fixture
async def postgres_runtime(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Runtime]:
    """The tools of an application on an empty PostgreSQL database."""
    name = f"authapi_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    url = postgres_server.url(name)
    await migrations.upgrade(url)
    runtime = Runtime.build(make_settings(database_url=url, data_dir=tmp_path))
    yield runtime
    await runtime.close()
    postgres_server.drop_database(name)


class TestNothingIsMissed:
    async def test_a_row_that_commits_after_a_later_one(self, postgres_runtime: Runtime) -> None:
        reader = Reader(postgres_runtime)
        early, late = new_id(), new_id()
        async with postgres_runtime.database.unit_of_work() as db:
            await revocations.add_sessions(
                db, [early], expires_at=clock.utc_now() + timedelta(hours=1), created_at=clock.utc_now()
            )
            await publish(postgres_runtime.database, late)
            ids = await db.scalar(select(func.min(Revocation.id)).where(Revocation.user_session_id == early))
            assert ids == 1
            assert await reader.sees(early, late) == [False, True]
            await publish(postgres_runtime.database, new_id())
            assert await reader.sees(early) == [False]
        assert await reader.sees(early, late) == [True, True]
        await reader.close()

    async def test_a_transaction_that_had_written_before_it_revoked(self, postgres_runtime: Runtime) -> None:
        """Its number is older than its row: others have come, gone and been read in between."""
        reader = Reader(postgres_runtime)
        first, second = new_id(), new_id()
        async with postgres_runtime.database.unit_of_work() as db:
            await db.execute(delete(Revocation).where(Revocation.id == 0))
            await db.execute(select(func.pg_current_xact_id()))
            for _ in range(3):
                await publish(postgres_runtime.database, new_id())
                await reader.follower.read_on()
            async with db.begin_nested():
                await revocations.add_sessions(
                    db, [first], expires_at=clock.utc_now() + timedelta(hours=1), created_at=clock.utc_now()
                )
            await publish(postgres_runtime.database, second)
            assert await reader.sees(first, second) == [False, True]
        assert await reader.sees(first) == [True]
        await reader.close()

    async def test_two_hundred_at_once(self, runtime: Runtime, reader: Reader) -> None:
        """Each is seen by the first read that begins after its commit, whatever the others do."""
        ids = [new_id() for _ in range(200)]
        committed: set[UUID] = set()
        turns = asyncio.Semaphore(8)

        async def revoke(id: UUID, delay: float) -> None:
            async with turns:
                async with runtime.database.unit_of_work() as db:
                    await revocations.add_sessions(
                        db, [id], expires_at=clock.utc_now() + timedelta(hours=1), created_at=clock.utc_now()
                    )
                    await asyncio.sleep(delay)
                committed.add(id)

        async def follow() -> None:
            while len(committed) < len(ids):
                before = list(committed)
                assert all(await reader.sees(*before))

        await asyncio.gather(follow(), *(revoke(id, (n * 7 % 10) / 1000) for n, id in enumerate(ids)))
        assert all(await reader.sees(*ids))

    async def test_after_old_rows_were_purged(self, runtime: Runtime, reader: Reader) -> None:
        """A database may not give a new row the number of one that is gone."""
        await publish(runtime.database, *(new_id() for _ in range(5)))
        await reader.follower.read_on()
        async with runtime.database.unit_of_work() as db:
            await db.execute(delete(Revocation))
        fresh = [new_id() for _ in range(6)]
        await publish(runtime.database, *fresh)
        assert await reader.sees(*fresh) == [True] * 6

    async def test_a_server_that_is_behind_takes_over(self, runtime: Runtime, reader: Reader) -> None:
        """A replica that was promoted counts its transactions, or rows, from an earlier point."""
        await publish(runtime.database, new_id())
        await reader.follower.read_on()
        reader.follower._position += 1_000_000
        unseen = new_id()
        await publish(runtime.database, unseen)
        assert await reader.sees(unseen) == [True]

    async def test_a_new_process_reads_what_still_matters(self, runtime: Runtime, reader: Reader) -> None:
        matters, over = new_id(), new_id()
        now = clock.utc_now()
        async with runtime.database.unit_of_work() as db:
            for id, minutes in ((matters, 1), (over, -1)):
                await revocations.add_sessions(
                    db, [id], expires_at=now + timedelta(minutes=minutes), created_at=now
                )
            await revocations.add_subject(
                db, "subject", not_before=now, expires_at=now + timedelta(hours=1), created_at=now
            )
        assert await reader.sees(matters, over) == [True, False]
        assert reader.runtime.revocations._subjects.keys() == {"subject"}


class TestKeptConnection:
    async def test_it_is_made_once_and_rests_outside_of_a_transaction(self, reader: Reader) -> None:
        connections: list[DBAPIConnection] = []
        engine = reader.follower._database.engine.sync_engine
        event.listen(engine, "connect", lambda connection, _: connections.append(connection))
        for _ in range(3):
            await reader.follower.read_on()
        (connection,) = connections
        driver = connection.driver_connection
        assert not (driver.in_transaction if engine.name == "sqlite" else driver.is_in_transaction())

    async def test_one_that_the_server_has_ended(self, postgres_runtime: Runtime) -> None:
        """Replaced within the same read: nothing grows stale, and nobody is alarmed."""
        reader, id = Reader(postgres_runtime), new_id()
        await reader.follower.read_on()
        async with postgres_runtime.database.unit_of_work() as db:
            await db.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await publish(postgres_runtime.database, id)
        assert await reader.sees(id) == [True]
        await reader.close()


class TestBusyPool:
    async def test_it_follows_while_every_connection_is_taken(self, make_app: MakeApp) -> None:
        async with make_app(database={"pool_size": 2}) as app, http_client(app) as client:
            runtime: Runtime = app.state.runtime
            account = await Accounts(client, runtime).register()
            async with runtime.database.reading(), runtime.database.reading():
                await publish_elsewhere(runtime.settings.database_url, session_of(runtime, account))
                assert await wait_for(client, account, status=401, seconds=2.0)


class TestOutOfTouch:
    """A server of its own, which is frozen, killed and cut off."""

    @pytest.fixture
    def server(self) -> Iterator[PostgresServer]:
        with scratch_directory() as directory, start_postgres(directory) as server:
            if not server.is_ours:
                pytest.skip("the server of AUTHAPI_TEST_DATABASE_URL is not ours to break")
            yield server

    @asynccontextmanager
    async def app_on(self, url: str, tmp_path: Path) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
        settings = make_settings(database_url=url, data_dir=tmp_path, revocation={"max_staleness": "1s"})
        async with running_app(settings) as app, http_client(app) as client:
            yield app, client

    async def test_frozen_killed_and_back(self, server: PostgresServer, tmp_path: Path) -> None:
        await migrations.upgrade(server.url())
        async with self.app_on(server.url(), tmp_path) as (app, client):
            account = await Accounts(client, app.state.runtime).register()
            assert await status(client, account) == 200
            server.freeze()
            try:
                assert await wait_for(client, account, status=503, seconds=2.0)
                response = await client.get(ME, headers=account.headers)
                assert response.json()["error"]["code"] == "revocations_unknown"
                assert int(response.headers["Retry-After"]) >= 1
                await asyncio.sleep(4)
            finally:
                server.thaw()
            assert await wait_for(client, account, status=200, seconds=5.0)
            server.kill()
            assert await wait_for(client, account, status=503, seconds=2.0)
            server.start()
            assert await wait_for(client, account, status=200, seconds=5.0)
            async with app.state.runtime.database.unit_of_work() as db:
                await logout.log_out_everywhere(db, app.state.runtime, user_id=account.id)
            assert await status(client, account) == 401

    async def test_connections_that_go_nowhere(self, server: PostgresServer, tmp_path: Path) -> None:
        """A host vanishes without a word and another takes over its address: old connections never end."""
        await migrations.upgrade(server.url())
        async with Proxy(server) as proxy:
            url = server.url().replace(f":{server.process.port}/", f":{proxy.port}/")
            async with self.app_on(url, tmp_path) as (app, client):
                account = await Accounts(client, app.state.runtime).register()
                assert await status(client, account) == 200
                proxy.swallow_everything()
                await asyncio.sleep(0.5)
                proxy.carry_new_connections()
                assert await wait_for(client, account, status=503, seconds=2.0)
                assert await wait_for(client, account, status=200, seconds=8.0)
                await publish_elsewhere(server.url(), session_of(app.state.runtime, account))
                assert await wait_for(client, account, status=401, seconds=2.0)


class Proxy:
    """A TCP proxy whose open connections can be made to carry nothing any more, without being closed."""

    def __init__(self, server: PostgresServer) -> None:
        self._target = server.process.port
        self._generation = 0
        self._carrying = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def swallow_everything(self) -> None:
        self._carrying = False
        self._generation += 1

    def carry_new_connections(self) -> None:
        self._carrying = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        generation = self._generation
        if not self._carrying:
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(there_writer)
        for source, target in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._carry(source, target, generation))
            self._tasks.add(task)

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, generation: int
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                if generation == self._generation:
                    target.write(data)
                    await target.drain()
            if generation == self._generation:
                target.close()


async def status(client: httpx.AsyncClient, account: Account) -> int:
    return (await client.get(ME, headers=account.headers)).status_code


async def wait_for(client: httpx.AsyncClient, account: Account, *, status: int, seconds: float) -> bool:
    """Whether `GET /api/auth/me` comes to answer `status` within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (await client.get(ME, headers=account.headers)).status_code == status:
            return True
        await asyncio.sleep(0.02)
    return False


def session_of(runtime: Runtime, account: Account) -> UUID:
    return runtime.refresh_tokens.parse(account.data["refresh_token"]).session_id
