"""Bringing schemas up to date: twice at once, interrupted, on tables that somebody holds, and back again."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from alembic import command
from authapi import migrations
from authapi.database import Database
from authapi.main import create_app
from authapi.migrations import SchemaBehind, SchemaState, TablesInUse, alembic_config, schema_state
from tests.conftest import make_settings, running_app
from tests.support.migration_scripts import scripts_with
from tests.support.postgres import PostgresServer

Alembic = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'authapi.sqlite3'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"migrations_{uuid4().hex[:12]}"
    server.create_database(name)
    yield server.url(name)
    server.drop_database(name)


async def run(url: str, alembic: Alembic, *arguments: str) -> None:
    """Run a command of Alembic in one transaction on a database."""

    def run_command(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        alembic(config, *arguments)

    await in_transaction(url, run_command)


async def in_transaction(url: str, work: Callable[[Connection], Any]) -> Any:
    database = Database(url, pool_size=1)
    try:
        async with database.engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await database.close()


async def state_of(url: str) -> SchemaState:
    database = Database(url, pool_size=1)
    try:
        return await schema_state(database)
    finally:
        await database.close()


def describe(connection: Connection) -> dict[str, list[str]]:
    """Every table with its columns, indices and constraints, as text that can be compared."""
    inspector = inspect(connection)
    return {
        table: sorted(
            [
                *(f"{c['name']} {c['type']!r} {c['nullable']}" for c in inspector.get_columns(table)),
                *(f"{i['name']} {i['column_names']}" for i in inspector.get_indexes(table)),
                *(f"{u['name']}" for u in inspector.get_unique_constraints(table)),
                *(f"{f['name']} {f['options']}" for f in inspector.get_foreign_keys(table)),
            ]
        )
        for table in inspector.get_table_names()
    }


class TestUpgrade:
    async def test_models_and_migrations_agree(self, fresh_url: str) -> None:
        await migrations.upgrade(fresh_url)
        await run(fresh_url, command.check)

    async def test_down_and_up_again(self, fresh_url: str) -> None:
        await migrations.upgrade(fresh_url)
        before = await in_transaction(fresh_url, describe)
        assert len(before) > 10
        await run(fresh_url, command.downgrade, "base")
        assert (await in_transaction(fresh_url, describe)).keys() == {"alembic_version"}
        await migrations.upgrade(fresh_url)
        assert await in_transaction(fresh_url, describe) == before

    async def test_each_step_back_can_be_taken_again(self, fresh_url: str) -> None:
        await migrations.upgrade(fresh_url)
        before = await in_transaction(fresh_url, describe)
        await run(fresh_url, command.downgrade, "-1")
        assert await state_of(fresh_url) is SchemaState.BEHIND
        await migrations.upgrade(fresh_url)
        assert await in_transaction(fresh_url, describe) == before
        assert await state_of(fresh_url) is SchemaState.CURRENT

    async def test_five_migrators_at_once(self, fresh_url: str) -> None:
        await asyncio.gather(*(migrations.upgrade(fresh_url) for _ in range(5)))
        assert await state_of(fresh_url) is SchemaState.CURRENT
        roles = await in_transaction(
            fresh_url, lambda connection: connection.scalar(text("SELECT count(*) FROM roles"))
        )
        assert roles == 3

    async def test_a_table_that_is_rebuilt_keeps_what_refers_to_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SQLite changes a column by copying the table and dropping the old one: nothing may cascade."""
        url = f"sqlite+aiosqlite:///{tmp_path / 'authapi.sqlite3'}"
        await migrations.upgrade(url)
        await in_transaction(url, insert_user)
        add_revision(
            tmp_path,
            monkeypatch,
            """
            with op.batch_alter_table("users") as batch_op:
                batch_op.alter_column("full_name", existing_type=sa.String(200), nullable=True)
            """,
        )
        await migrations.upgrade(url)
        counts = await in_transaction(
            url,
            lambda connection: [
                connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 - a constant
                for table in ("users", "password_credentials")
            ],
        )
        assert counts == [1, 1]

    async def test_dangling_references_undo_the_migration(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"sqlite+aiosqlite:///{tmp_path / 'authapi.sqlite3'}"
        await migrations.upgrade(url)
        await in_transaction(url, insert_user)
        add_revision(tmp_path, monkeypatch, "op.execute('DELETE FROM users')")
        with pytest.raises(RuntimeError, match="dangling"):
            await migrations.upgrade(url)
        assert await in_transaction(url, lambda c: c.scalar(text("SELECT count(*) FROM users"))) == 1
        assert await state_of(url) is SchemaState.BEHIND


class TestInterrupted:
    """Killed with the migration's work done and not committed: nothing of it stays, and a rerun succeeds."""

    async def test_kill(self, fresh_url: str) -> None:
        process = await asyncio.to_thread(start_and_wait_for_commit, fresh_url)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        assert process.stdout is not None
        process.stdout.close()
        assert await state_of(fresh_url) is SchemaState.BEHIND
        assert await in_transaction(fresh_url, describe) == {}
        await migrations.upgrade(fresh_url)
        assert await state_of(fresh_url) is SchemaState.CURRENT
        await run(fresh_url, command.check)

    async def test_a_second_migrator_waits_for_the_first(self, fresh_url: str) -> None:
        process = await asyncio.to_thread(start_and_wait_for_commit, fresh_url)
        try:
            second = asyncio.create_task(migrations.upgrade(fresh_url))
            await asyncio.sleep(0.5)
            assert not second.done()
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
            assert process.stdout is not None
            process.stdout.close()
        await second
        assert await state_of(fresh_url) is SchemaState.CURRENT


MIGRATOR = """
import asyncio, sys, time
from sqlalchemy import event
from sqlalchemy.engine import Engine
from authapi import migrations

@event.listens_for(Engine, "commit")
def wait(connection):
    print("about to commit", flush=True)
    time.sleep(60)

asyncio.run(migrations.upgrade(sys.argv[1]))
"""


def start_and_wait_for_commit(url: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", MIGRATOR, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "about to commit\n"
    return process


class TestSchemaState:
    def test_file_names_tell_the_revisions(self) -> None:
        """They are read without Alembic, which takes long to import."""
        scripts = ScriptDirectory.from_config(alembic_config())
        assert [script.revision for script in scripts.walk_revisions()] == migrations.revisions()[::-1]

    async def test_an_empty_database_is_behind(self, fresh_url: str) -> None:
        assert await state_of(fresh_url) is SchemaState.BEHIND

    async def test_the_application_refuses_a_schema_that_is_behind(
        self, fresh_url: str, tmp_path: Path
    ) -> None:
        app = create_app(make_settings(database_url=fresh_url, data_dir=tmp_path))
        with pytest.raises(SchemaBehind, match="authapi db upgrade"):
            async with app.router.lifespan_context(app):
                pass

    async def test_the_application_serves_on_a_newer_schema(self, fresh_url: str, tmp_path: Path) -> None:
        await migrations.upgrade(fresh_url)
        await in_transaction(
            fresh_url, lambda c: c.execute(text("UPDATE alembic_version SET version_num = 'from_tomorrow'"))
        )
        assert await state_of(fresh_url) is SchemaState.AHEAD
        async with running_app(make_settings(database_url=fresh_url, data_dir=tmp_path)):
            pass


class TestLocks:
    """Somebody reads a table that has to change; every query queues up behind a migration that waits for it."""

    @pytest.fixture
    async def url(
        self, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> AsyncIterator[str]:
        """A database that lacks the newest revision."""
        name = f"migrations_{uuid4().hex[:12]}"
        postgres_server.create_database(name)
        await migrations.upgrade(postgres_server.url(name))
        add_revision(
            tmp_path,
            monkeypatch,
            "op.add_column('users', sa.Column('nickname', sa.String(50), nullable=True))",
        )
        yield postgres_server.url(name)
        postgres_server.drop_database(name)

    @asynccontextmanager
    async def reading_users(self, url: str) -> AsyncIterator[None]:
        database = Database(url, pool_size=1)
        async with database.unit_of_work() as db:
            await db.execute(text("LOCK TABLE users IN ACCESS SHARE MODE"))
            yield
        await database.close()

    async def test_a_table_that_somebody_holds_for_long(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrations, "LOCK_ATTEMPTS", 2)
        async with self.reading_users(url):
            started = time.monotonic()
            with pytest.raises(TablesInUse, match="run authapi db upgrade again"):
                await migrations.upgrade(url)
            assert 2 < time.monotonic() - started < 8
        await migrations.upgrade(url)
        assert await state_of(url) is SchemaState.CURRENT

    async def test_a_table_that_is_let_go(self, url: str) -> None:
        async with self.reading_users(url):
            migrating = asyncio.create_task(migrations.upgrade(url))
            await asyncio.sleep(0.8)
            assert not migrating.done()
        await migrating
        assert await state_of(url) is SchemaState.CURRENT

    async def test_who_asks_meanwhile_waits_for_less_than_a_second(self, url: str) -> None:
        waits = []
        bystander = Database(url, pool_size=1)
        async with self.reading_users(url):
            migrating = asyncio.create_task(migrations.upgrade(url))
            for _ in range(20):
                started = time.monotonic()
                async with bystander.reading() as db:
                    await db.execute(text("SELECT count(*) FROM users"))
                waits.append(time.monotonic() - started)
                await asyncio.sleep(0.05)
            assert not migrating.done()
        await migrating
        await bystander.close()
        assert 0.1 < max(waits) < 1.5


def add_revision(directory: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Give this test one more revision after the newest one."""
    ours = scripts_with(directory, body)
    monkeypatch.setattr(migrations, "scripts_directory", lambda: ours)


def insert_user(connection: Connection) -> None:
    stamps = {"now": "2026-01-01 00:00:00.000000", "id": uuid4().hex}
    connection.execute(
        text(
            "INSERT INTO users (id, email, email_canonical, full_name, full_name_key, locale, discoverable,"
            " created_at, updated_at) VALUES (:id, 'a@example.com', 'a@example.com', 'A', 'a', 'en', 0,"
            " :now, :now)"
        ),
        stamps,
    )
    connection.execute(
        text(
            "INSERT INTO password_credentials (id, user_id, password_hash, created_at, updated_at)"
            " VALUES (:id, :id, 'x', :now, :now)"
        ),
        stamps,
    )
