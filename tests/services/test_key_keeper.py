"""The keeper's rounds: what others have changed arrives, and failures neither end it nor stop serving."""

import asyncio
import time
from collections.abc import Callable

import pytest
import structlog
from sqlalchemy import text

from authapi.database import Database
from authapi.services import key_keeper
from authapi.services.key_rotation import rotate
from authapi.services.signing_keys import generate_key
from tests.support.hosts import Host
from tests.support.key_databases import MakeRuntime


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_keeper, "RELOAD_SECONDS", 0.05)
    monkeypatch.setattr(key_keeper, "RETRY_SECONDS", 0.05)


async def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline, "waited for ten seconds"
        await asyncio.sleep(0.02)


async def rename(database: Database, old: str, new: str) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


async def test_a_key_that_another_host_made_arrives(make_runtime: MakeRuntime) -> None:
    host, other = Host(make_runtime()), make_runtime()
    await host.keeper.start()
    try:
        fresh = await generate_key(other)
        async with other.database.unit_of_work() as db:
            await rotate(db, other, fresh=fresh)
        await until(lambda: fresh.kid in {key.kid for key in host.keys})
    finally:
        await host.keeper.stop()


async def test_failures_are_logged_once_and_tried_again(make_runtime: MakeRuntime) -> None:
    host = Host(make_runtime())
    await host.keeper.start()
    with structlog.testing.capture_logs() as lines:

        def count(event: str) -> int:
            return sum(line["event"] == event for line in lines)

        try:
            await rename(host.runtime.database, "signing_keys", "hidden_keys")
            try:
                await until(lambda: count("signing_keys.reload_failed") > 0)
                await asyncio.sleep(0.3)
                assert host.accepts(host.issue())
            finally:
                await rename(host.runtime.database, "hidden_keys", "signing_keys")
            await until(lambda: count("signing_keys.reloaded_again") > 0)
            assert count("signing_keys.reload_failed") == 1
        finally:
            await host.keeper.stop()


async def test_stop_before_start(make_runtime: MakeRuntime) -> None:
    await Host(make_runtime()).keeper.stop()
