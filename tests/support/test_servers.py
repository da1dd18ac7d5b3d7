"""The servers themselves: found, used, killed, frozen and restarted."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support import postgres_binaries
from tests.support import redis_server as redis_module
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.processes import Account, ServerError, scratch_directory
from tests.support.redis_server import RedisServer, start_redis

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that these tests break, apart from the session's."""
    with (
        pytest.MonkeyPatch.context() as patch,
        scratch_directory() as directory,
    ):
        patch.delenv(postgres_binaries.URL_VARIABLE, raising=False)
        with start_postgres(directory) as server:
            yield server


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    with pytest.MonkeyPatch.context() as patch, scratch_directory() as directory:
        patch.delenv(redis_module.URL_VARIABLE, raising=False)
        with start_redis(directory) as server:
            yield server


class TestPostgres:
    async def test_create_read_update_delete(self, own_postgres: PostgresServer) -> None:
        connection = await asyncpg.connect(own_postgres.dsn())
        try:
            await connection.execute("CREATE TABLE note (id int PRIMARY KEY, body text)")
            await connection.execute("INSERT INTO note VALUES (1, 'å'), (2, 'b')")
            await connection.execute("UPDATE note SET body = 'c' WHERE id = 2")
            await connection.execute("DELETE FROM note WHERE id = 1")
            assert [tuple(row) for row in await connection.fetch("TABLE note")] == [(2, "c")]
            assert await connection.fetchval("SHOW server_encoding") == "UTF8"
        finally:
            await connection.execute("DROP TABLE note")
            await connection.close()

    async def test_refuses_a_wrong_password(self, own_postgres: PostgresServer) -> None:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(own_postgres.dsn(), password="wrong")

    async def test_databases_are_created_from_templates_and_dropped(
        self, own_postgres: PostgresServer
    ) -> None:
        own_postgres.create_database("template here")
        connection = await asyncpg.connect(own_postgres.dsn("template here"))
        await connection.execute("CREATE TABLE note (id int)")
        await connection.close()
        own_postgres.create_database("copy", template="template here")
        engine = create_async_engine(own_postgres.url("copy"))
        async with engine.connect() as user:
            assert (await user.execute(text("SELECT count(*) FROM note"))).scalar_one() == 0
        own_postgres.drop_database("copy")  # although the pool is still connected
        await engine.dispose()
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(own_postgres.dsn("copy"))
        own_postgres.drop_database("template here")
        own_postgres.drop_database("template here")

    async def test_a_confirmed_commit_survives_kill_and_restart(self, own_postgres: PostgresServer) -> None:
        port = own_postgres.process.port
        connection = await asyncpg.connect(own_postgres.dsn())
        await connection.execute("CREATE TABLE kept (id int)")
        await connection.execute("INSERT INTO kept VALUES (7)")
        own_postgres.kill()
        with pytest.raises((OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
            await connection.fetchval("SELECT 1")
        connection.terminate()
        with pytest.raises(OSError, match=str(port)):
            await asyncpg.connect(own_postgres.dsn())
        own_postgres.start()
        assert own_postgres.process.port == port
        connection = await asyncpg.connect(own_postgres.dsn())
        assert await connection.fetchval("SELECT id FROM kept") == 7
        await connection.execute("DROP TABLE kept")
        await connection.close()

    async def test_a_fast_restart_disconnects_and_comes_back(self, own_postgres: PostgresServer) -> None:
        connection = await asyncpg.connect(own_postgres.dsn())
        own_postgres.restart()
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await connection.fetchval("SELECT 1")
        connection.terminate()
        connection = await asyncpg.connect(own_postgres.dsn())
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()

    async def test_frozen_it_answers_nobody_and_thawed_it_goes_on(self, own_postgres: PostgresServer) -> None:
        connection = await asyncpg.connect(own_postgres.dsn())
        own_postgres.freeze()
        try:
            with pytest.raises(TimeoutError):
                await asyncpg.connect(own_postgres.dsn(), timeout=0.3)
            # A connection that is open already hangs too: its backend is stopped with the postmaster.
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                await connection.fetchval("SELECT 1", timeout=0.3)
            assert time.monotonic() - started < 5
        finally:
            own_postgres.thaw()
        fresh = await asyncpg.connect(own_postgres.dsn(), timeout=10)
        assert await fresh.fetchval("SELECT 1") == 1
        await fresh.close()
        connection.terminate()

    def test_a_server_named_by_its_url_is_never_broken(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(
            postgres_binaries.URL_VARIABLE, "postgres://me:p%40ss@db.example.com:6543/base?x=1"
        )
        with start_postgres(tmp_path) as server:
            assert not server.is_ours
            assert server.url("other") == "postgresql+asyncpg://me:p%40ss@db.example.com:6543/other?x=1"
            assert server.dsn() == "postgresql://me:p%40ss@db.example.com:6543/base?x=1"
            for action in (server.kill, server.stop, server.freeze, server.restart):
                with pytest.raises(ServerError, match="AUTHAPI_TEST_DATABASE_URL"):
                    action()

    def test_says_what_to_do_when_there_is_none(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(postgres_binaries, "WHEEL", "no_such_wheel")
        monkeypatch.setattr(postgres_binaries, "SYSTEM_BINARIES", tmp_path)
        with pytest.raises(ServerError, match="pip install"):
            postgres_binaries.find_binaries()

    def test_prefers_the_newest_of_the_distribution(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for version in ("9", "16", "15"):
            (tmp_path / version / "bin").mkdir(parents=True)
            (tmp_path / version / "bin" / "postgres").touch()
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(postgres_binaries, "WHEEL", "no_such_wheel")
        monkeypatch.setattr(postgres_binaries, "SYSTEM_BINARIES", tmp_path)
        assert postgres_binaries.find_binaries() == tmp_path / "16" / "bin"

    @NEEDS_ROOT
    def test_copies_binaries_that_nobody_cannot_reach(self, tmp_path: Path) -> None:
        binaries = postgres_binaries.find_binaries()
        if postgres_binaries.WHEEL not in binaries.parts:
            pytest.skip("the binaries are the system's, which everybody can reach")
        hidden = tmp_path / "site-packages"
        hidden.mkdir()
        tmp_path.chmod(0o700)
        package = binaries.parents[1]
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                (hidden / folder.name).symlink_to(folder)
        unreachable = hidden / package.name / binaries.parent.name / "bin"
        with scratch_directory() as directory:
            copy = postgres_binaries.reachable_binaries(
                unreachable, account=Account.nobody(), directory=directory
            )
            assert copy.is_relative_to(directory)
            with start_postgres(directory, binaries=copy) as server:
                server.create_database("made")


class TestRedis:
    async def test_create_read_update_delete(self, own_redis: RedisServer) -> None:
        async with redis.asyncio.Redis.from_url(own_redis.url, decode_responses=True) as client:
            assert await client.set("key", "value", nx=True, ex=60)
            assert await client.set("key", "other", nx=True) is None
            assert await client.incr("counter", 5) == 5
            assert await client.eval("return redis.call('GET', KEYS[1])", 1, "key") == "value"
            assert await client.getdel("key") == "value"
            own_redis.flush()
            assert await client.dbsize() == 0

    async def test_refuses_a_client_without_password(self, own_redis: RedisServer) -> None:
        async with redis.asyncio.Redis(
            host="127.0.0.1", port=own_redis.process.port, retry=Retry(NoBackoff(), 0)
        ) as client:
            with pytest.raises(redis.AuthenticationError):
                await client.ping()

    async def test_kill_and_restart_come_back_empty(self, own_redis: RedisServer) -> None:
        async with redis.asyncio.Redis.from_url(own_redis.url) as client:
            await client.set("key", "value")
            own_redis.kill()
            with pytest.raises(redis.ConnectionError):
                await client.ping()
            own_redis.restart()
            assert await client.get("key") is None

    async def test_frozen_it_does_not_answer_and_thawed_it_does(self, own_redis: RedisServer) -> None:
        async with redis.asyncio.Redis.from_url(
            own_redis.url, socket_timeout=0.3, retry=Retry(NoBackoff(), 0)
        ) as client:
            own_redis.freeze()
            try:
                with pytest.raises(redis.TimeoutError):
                    await client.ping()
            finally:
                own_redis.thaw()
            assert await client.ping()

    def test_a_server_named_by_its_url_is_never_broken(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(redis_module.URL_VARIABLE, "redis://cache.example.com:6379/15")
        with start_redis(tmp_path) as server:
            assert server.url == "redis://cache.example.com:6379/15"
            with pytest.raises(ServerError, match="AUTHAPI_TEST_REDIS_URL"):
                server.kill()

    def test_says_what_to_do_when_there_is_none(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(redis_module, "WHEELS", ("no_such_wheel",))
        with pytest.raises(ServerError, match="valkey-server"):
            redis_module.find_binary()
