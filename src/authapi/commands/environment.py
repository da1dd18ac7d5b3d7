"""What commands work with: settings, database and runtime, with failures that name the cause."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from authapi.commands.failures import CommandFailed
from authapi.settings import Settings, load_settings

if TYPE_CHECKING:
    from authapi.migrations import SchemaState
    from authapi.runtime import Runtime


def prepare_settings() -> Settings:
    """The settings, with logging set up for a command, which speaks for itself; raises `InvalidSettings`."""
    from authapi.logs import configure_logging

    settings = load_settings()
    level = "error" if settings.log.level == "error" else "warning"
    configure_logging(format=settings.log.format, level=level)
    return settings


async def read_schema_state(settings: Settings) -> "SchemaState":
    """Connect to the database of the settings and look.

    Raises `CommandFailed` naming what is in the way, `InvalidSettings`.
    """
    from authapi.database import Database
    from authapi.migrations import schema_state

    database = Database.of(settings, pool_size=1)
    try:
        with database_failures(settings):
            return await schema_state(database)
    finally:
        await database.close()


async def migrate(settings: Settings) -> None:
    """Run the pending migrations; a schema of a newer release is left alone.

    Raises `CommandFailed`, `InvalidSettings`.
    """
    from authapi import migrations

    if await read_schema_state(settings) is migrations.SchemaState.BEHIND:
        with database_failures(settings):
            await migrations.upgrade(settings.database_url)


@asynccontextmanager
async def open_runtime(settings: Settings) -> "AsyncIterator[Runtime]":
    """The tools of the services, on a database that can be reached and whose schema is current.

    Raises `CommandFailed`, `InvalidSettings`.
    """
    from authapi.migrations import assert_migrated
    from authapi.runtime import Runtime

    runtime = Runtime.build(settings)
    try:
        with database_failures(settings):
            await assert_migrated(runtime.database)
            yield runtime
    finally:
        await runtime.close()


@contextmanager
def database_failures(settings: Settings) -> Iterator[None]:
    """Raise as `CommandFailed` what the database or its driver reports, and what is wrong with its schema.

    Without parameters or credentials.
    """
    from asyncpg import InterfaceError, PostgresError
    from sqlalchemy.exc import SQLAlchemyError

    from authapi.migrations import SchemaBehind, TablesInUse

    try:
        yield
    except (SchemaBehind, TablesInUse) as reason:
        raise CommandFailed(str(reason)) from None
    except (SQLAlchemyError, PostgresError, InterfaceError, OSError) as error:
        raise CommandFailed(_explain(settings, error)) from None


def _explain(settings: Settings, error: Exception) -> str:
    from asyncpg import InterfaceError, PostgresError
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import DBAPIError

    url = make_url(settings.database_url)
    place = (
        f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"
        if url.host
        else str(url.database)
    )
    cause: BaseException = error.orig or error if isinstance(error, DBAPIError) else error
    if isinstance(cause, OSError):
        reason = cause.strerror or type(cause).__name__
    elif isinstance(cause, PostgresError | InterfaceError) or isinstance(error, DBAPIError):
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    else:
        reason = type(cause).__name__
    name = "AUTHAPI_DATABASE__URL" if settings.database.url else "AUTHAPI_DATA_DIR"
    return f"{name}: the database {place} does not work: {reason}"
