"""A real service for every test: the whole application on a migrated SQLite file and on PostgreSQL.

Transactions commit for real, and each test starts on empty tables: what a test sees is what a client would
see, races included. Tests that ask for `client`, `app` or `runtime` run once per database;
`AUTHAPI_TEST_DB=sqlite` (or `postgresql`) asks for one of them only.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete

from authapi import clock
from authapi.logs import configure_logging
from authapi.main import create_app
from authapi.models import Base, Permission, Role, SigningKey, role_permissions
from authapi.runtime import Runtime
from authapi.services.key_keeper import KeyKeeper
from authapi.settings import Settings
from tests.support.accounts import Accounts
from tests.support.databases import migrated_database
from tests.support.fixtures import postgres_server, redis_server, server_directory
from tests.support.key_databases import key_database_url, make_runtime, no_keys

__all__ = [
    "key_database_url",
    "make_runtime",
    "no_keys",
    "postgres_server",
    "redis_server",
    "server_directory",
]

BASE_URL = "http://127.0.0.1:5001"
PLENTY = "1000000/minute"
KEPT_TABLES = {Role.__table__, Permission.__table__, role_permissions, SigningKey.__table__}

# The applications of `shared_app`, by database.
SHARED_APPS: dict[str, FastAPI] = {}

MakeApp = Callable[..., AbstractAsyncContextManager[FastAPI]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of what is marked `one_database`, keep each test on SQLite or on PostgreSQL, about half on each.

    With AUTHAPI_TEST_DB all of them run on that one.
    """
    if "AUTHAPI_TEST_DB" in os.environ:
        return
    dropped = {item for item in items if item.get_closest_marker("one_database") and _is_other_half(item)}
    config.hook.pytest_deselected(items=[*dropped])
    items[:] = [item for item in items if item not in dropped]


def _is_other_half(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    kind: str | None = callspec.params.get("database_url") if callspec else None
    if kind is None:
        return False
    # By the name, so that every process of the run comes to the same end.
    turn = crc32(item.nodeid.replace(kind, "").encode()) % 2
    return kind != ("sqlite", "postgresql")[turn]


def make_settings(*, database_url: str, data_dir: Path, **overrides: Any) -> Settings:
    """Settings for a test: cheap hashes, a long queue and plenty of requests, unless overridden."""
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "secret_key": "for tests only, and long enough for them",
        "database": {"url": database_url},
        "password": {"bcrypt_rounds": 4, "hash_queue": 1000},
        "rate_limit": dict.fromkeys(("auth", "refresh", "search", "public", "user", "admin"), PLENTY),
    }
    for name, value in overrides.items():
        values[name] = values[name] | value if isinstance(values.get(name), dict) else value
    return Settings(**values)


@pytest.fixture(
    scope="session",
    params=[os.environ["AUTHAPI_TEST_DB"]] if "AUTHAPI_TEST_DB" in os.environ else ["sqlite", "postgresql"],
)
async def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with the current schema, one per kind and test process."""
    return await migrated_database(request, request.param, tmp_path_factory.mktemp("database"))


@pytest.fixture(scope="session")
async def shared_app(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FastAPI]:
    """One application for all tests on a database; `app` empties its tables first."""
    settings = make_settings(database_url=database_url, data_dir=tmp_path_factory.mktemp("data"))
    async with running_app(settings) as app:
        SHARED_APPS[database_url] = app
        yield app
        del SHARED_APPS[database_url]


@pytest.fixture
async def app(shared_app: FastAPI) -> FastAPI:
    """The application on empty tables."""
    await empty_tables(shared_app.state.runtime)
    await restore_keys(shared_app.state.runtime)
    return shared_app


@pytest.fixture
async def runtime(app: FastAPI) -> Runtime:
    """The tools of the application, for calling services at their edge."""
    runtime: Runtime = app.state.runtime
    return runtime


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client without credentials."""
    async with http_client(app) as client:
        yield client


@pytest.fixture
async def accounts(app: FastAPI, client: httpx.AsyncClient) -> Accounts:
    """Makes users and administrators who are logged in."""
    return Accounts(client, app.state.runtime)


@pytest.fixture
async def make_app(database_url: str, tmp_path: Path) -> MakeApp:
    """Builds applications with other settings on the same database, on empty tables: `make_app(cors={…})`."""

    @asynccontextmanager
    async def build(**overrides: Any) -> AsyncIterator[FastAPI]:
        settings = make_settings(database_url=database_url, data_dir=tmp_path, **overrides)
        async with without_shared_delivery(database_url), running_app(settings) as app:
            await empty_tables(app.state.runtime)
            yield app

    return build


@asynccontextmanager
async def without_shared_delivery(database_url: str) -> AsyncIterator[None]:
    """Keep the shared application from sending the mails of another one on the same database."""
    shared = SHARED_APPS.get(database_url)
    if shared is not None:
        await shared.state.mail_delivery.stop()
    yield
    if shared is not None:
        await shared.state.mail_delivery.start()


@asynccontextmanager
async def running_app(settings: Settings) -> AsyncIterator[FastAPI]:
    """An application between start and stop."""
    configure_logging(format="json", level="info")
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def http_client(app: FastAPI, *, address: str = "203.0.113.7", **options: Any) -> httpx.AsyncClient:
    """A client that talks to the application from an address."""
    transport = httpx.ASGITransport(app=app, client=(address, 40_000))
    return httpx.AsyncClient(transport=transport, base_url=BASE_URL, **options)


async def empty_tables(runtime: Runtime) -> None:
    """Delete what tests leave behind; built-in roles and permissions, and signing keys, stay.

    One script and one round trip: this is before every test.
    """
    tables = [table for table in reversed(Base.metadata.sorted_tables) if table not in KEPT_TABLES]
    statements = [
        *(f"DELETE FROM {table.name}" for table in tables),  # noqa: S608 - names of ours
        "DELETE FROM roles WHERE NOT is_built_in",
        "DELETE FROM permissions WHERE NOT is_built_in",
        "UPDATE roles SET requires_second_factor = false WHERE requires_second_factor",
    ]
    async with runtime.database.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        if runtime.database.is_sqlite:
            await driver.executescript("; ".join(["BEGIN IMMEDIATE", *statements, "COMMIT"]))
        else:
            await driver.execute("; ".join(statements))


async def restore_keys(runtime: Runtime) -> None:
    """Undo rotations: a test that moves the clock by months makes keys due in every application around."""
    keeper = KeyKeeper(runtime)
    await keeper.reload()
    (key, *others) = runtime.tokens.keys
    if not others and key.verifies_until is None and key.may_sign(clock.utc_now()):
        return
    async with runtime.database.unit_of_work() as db:
        await db.execute(delete(SigningKey))
    runtime.tokens.use_keys([])
    await keeper.reload()
