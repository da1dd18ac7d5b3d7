"""A database for tests that rotate signing keys: the shared application must keep its own."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import delete

from authapi.database import Database
from authapi.models import SigningKey
from authapi.runtime import Runtime
from tests.support.databases import kind_of, migrated_database

MakeRuntime = Callable[..., Runtime]


@pytest.fixture(scope="session")
async def key_database_url(
    database_url: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A second migrated database, of the same kind as `database_url`."""
    return await migrated_database(request, kind_of(database_url), tmp_path_factory.mktemp("keys"))


@pytest.fixture
async def no_keys(key_database_url: str) -> str:
    """The URL of that database, without any key in it."""
    database = Database(key_database_url, pool_size=1)
    async with database.unit_of_work() as db:
        await db.execute(delete(SigningKey))
    await database.close()
    return key_database_url


@pytest.fixture
async def make_runtime(no_keys: str, tmp_path: Path) -> AsyncIterator[MakeRuntime]:
    """Builds the tools of several hosts on a database without keys: `make_runtime(access_token={…})`."""
    from tests.conftest import make_settings

    runtimes: list[Runtime] = []

    def make(**overrides: object) -> Runtime:
        database = {"url": no_keys, "pool_size": 2}
        settings = make_settings(database_url=no_keys, data_dir=tmp_path, database=database, **overrides)
        runtimes.append(Runtime.build(settings))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        await runtime.close()
