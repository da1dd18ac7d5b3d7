"""F21: the schema moves on, and back, under a service that is asked all the while."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import patch

import asyncpg
from sqlalchemy import Connection

from alembic import command
from authapi import migrations
from authapi.database import Database
from tests.faults.scenarios import World, scenario
from tests.faults.traffic import Load, database_calls, load, statuses
from tests.support.migration_scripts import scripts_with

USERS = 200_000
LONGEST_SECONDS = 1.0
# What a release may do: it adds, and the one before does not know of it.
UPGRADE = """
op.add_column("users", sa.Column("nickname", sa.String(50), nullable=True))
op.create_table("nicknames", sa.Column("id", sa.Uuid, primary_key=True))
"""
DOWNGRADE = """
op.drop_table("nicknames")
op.drop_column("users", "nickname")
"""
FILL = """
INSERT INTO users
    (id, email, email_canonical, full_name, full_name_key, locale, discoverable, created_at, updated_at)
SELECT gen_random_uuid(), address, address, 'Ada', 'ada', 'en', false, now(), now()
FROM (SELECT 'filler' || number || '@example.com' AS address FROM generate_series(1, $1) number) addresses
"""
CHECKSUM = (
    "SELECT count(*), sum(hashtext(id::text || email || full_name)) FROM users WHERE email LIKE 'filler%'"
)


@scenario("F21", f"the schema is migrated forth and back under load, with {USERS:,} users")
async def migrate_under_load(world: World) -> str:
    url = await world.new_postgres_url()
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(FILL, USERS, timeout=300)
        before = await connection.fetchrow(CHECKSUM, timeout=60)
        scripts = scripts_with(world.new_directory(), UPGRADE, DOWNGRADE)
        async with world.authapi(url) as authapi:
            calls = await database_calls(authapi.client)
            with patch.object(migrations, "scripts_directory", lambda: scripts):
                forth = await _during(calls, lambda: _migrate_beside_a_reader(connection, url))
                # The old release, started anew on the new schema.
                authapi.kill()
                await authapi.start()
                back = await _during(calls, lambda: _downgrade(url))
            ready = await authapi.client.get("/health/ready")
        after = await connection.fetchrow(CHECKSUM, timeout=60)
    finally:
        await connection.close()
    assert ready.status == 200, f"ready {ready.status}"
    assert before == after, f"{before} became {after}"
    return (
        f"forth: {_figures(forth)}, though a report held the table at first; back: {_figures(back)}; "
        f"the old release started on the new schema in between; the users are the same"
    )


async def _during(calls: list[Callable[[], Awaitable[Any]]], work: Callable[[], Awaitable[None]]) -> Load:
    async with load(calls) as running:
        await asyncio.sleep(0.5)
        await work()
        await asyncio.sleep(0.5)
    assert set(statuses(running.sent)) == {200}, str(statuses(running.sent))
    slowest = max(sent.seconds for sent in running.sent)
    assert slowest <= LONGEST_SECONDS, f"a request took {slowest:.2f} s"
    return running


def _figures(running: Load) -> str:
    slowest = max(sent.seconds for sent in running.sent)
    return f"{len(running.sent)} of {len(running.sent)} requests fine, the slowest after {slowest:.2f} s"


async def _migrate_beside_a_reader(connection: "asyncpg.Connection", url: str) -> None:
    async with connection.transaction():
        await connection.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        migrating = asyncio.create_task(migrations.upgrade(url))
        started = time.monotonic()
        while time.monotonic() - started < 1:
            await asyncio.sleep(0.1)
            assert not migrating.done(), "it did not wait for the report"
    await migrating


async def _downgrade(url: str) -> None:
    def run(connection: Connection) -> None:
        config = migrations.alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")

    database = Database(url, pool_size=1)
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await database.close()
