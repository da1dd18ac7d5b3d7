"""Brings a database's schema up to date, and says whether it is.

One transaction holds all pending revisions on PostgreSQL and on SQLite, so that a migrator that is killed
leaves the schema as it was. Two migrators at once queue up behind a lock; the second finds nothing to do.
"""

import asyncio
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, event, inspect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from authapi.database import Database
from authapi.repositories.advisory_locks import AdvisoryLock

if TYPE_CHECKING:
    # Takes a tenth of a second to import, which every worker would spend that has nothing to migrate.
    from alembic.config import Config

# Every query queues up behind a migration that waits for a table: it waits briefly, undoes all, and comes again.
LOCK_TIMEOUT = timedelta(milliseconds=500)
LOCK_ATTEMPTS = 10
LOCK_PAUSE = timedelta(seconds=1)
# SQLSTATE lock_not_available.
_LOCK_NOT_AVAILABLE = "55P03"
MIGRATION_TIMEOUT = timedelta(minutes=10)


class SchemaState(StrEnum):
    CURRENT = "current"
    BEHIND = "behind"
    # Written by a newer release; serving on is what makes a rolling update possible.
    AHEAD = "ahead"


class SchemaBehind(Exception):
    """The database lacks tables or columns that this release needs."""

    def __init__(self) -> None:
        super().__init__("the database schema is behind this release; run: authapi db upgrade")


class TablesInUse(Exception):
    """Other transactions kept a migration from its tables in each of its attempts."""

    def __init__(self) -> None:
        super().__init__(
            "a table is held by a long transaction, such as a backup or a report; nothing was changed: "
            "run authapi db upgrade again when it has ended"
        )


def scripts_directory() -> Path:
    """Alembic's scripts, of the installed package or of the source tree."""
    package = Path(__file__).parent
    installed = package / "_alembic"
    return installed if installed.is_dir() else package.parents[1] / "alembic"


def revisions() -> list[str]:
    """The revisions of this release, oldest first: the numbers with which the names of their files begin."""
    return sorted(script.name.partition("_")[0] for script in scripts_directory().glob("versions/[0-9]*.py"))


def alembic_config() -> "Config":
    """Alembic's configuration."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def open_for_migration(database_url: str) -> Database:
    """The database with time for long statements, and on SQLite without the enforcement of foreign keys."""
    database = Database(database_url, pool_size=1, timeout=MIGRATION_TIMEOUT)
    if database.is_sqlite:
        event.listen(database.engine.sync_engine, "connect", _suspend_foreign_keys)
    return database


async def upgrade(database_url: str) -> None:
    """Run every pending migration, all or none; raises `TablesInUse`."""
    database = open_for_migration(database_url)
    try:
        for _ in range(LOCK_ATTEMPTS):
            try:
                async with database.engine.begin() as connection:
                    await connection.run_sync(_upgrade)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
            else:
                return
            await asyncio.sleep(LOCK_PAUSE.total_seconds())
        raise TablesInUse
    finally:
        await database.close()


async def schema_state(database: Database) -> SchemaState:
    """Compare the database's revision with the newest one of this release."""
    async with database.engine.connect() as connection:
        return await connection.run_sync(_schema_state)


async def assert_migrated(database: Database) -> None:
    """Raise `SchemaBehind` if migrations are pending."""
    if await schema_state(database) is SchemaState.BEHIND:
        raise SchemaBehind


def _suspend_foreign_keys(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # SQLite changes a column by copying the table and dropping the old one, and a drop deletes the rows
    # first: a change of `users` would take every password along. References are checked at the end instead.
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = OFF")
    cursor.close()


def _upgrade(connection: Connection) -> None:
    from alembic import command

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({AdvisoryLock.MIGRATION.value})")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT // timedelta(milliseconds=1)}")
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise RuntimeError(f"the migration would leave {len(broken)} dangling references")


def _schema_state(connection: Connection) -> SchemaState:
    known = revisions()
    present: str | None = None
    if inspect(connection).has_table("alembic_version"):
        present = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if present == known[-1]:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if present is None or present in known else SchemaState.AHEAD
