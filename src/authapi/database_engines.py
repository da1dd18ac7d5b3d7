"""The connections to PostgreSQL and SQLite, which behave alike above: how each is opened, checked and bounded.

SQLite runs with a write-ahead log, enforced foreign keys and `BEGIN IMMEDIATE`: a transaction that reads and
then writes would otherwise fail with "database is locked" as soon as another process writes in between.
"""

import asyncio
import sqlite3
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, PoolResetState
from sqlalchemy.util import await_only

from authapi.fair_pool import FairQueuePool
from authapi.settings import InvalidSettings

# How long a request waits for a connection of an exhausted pool before it is answered with 503.
POOL_TIMEOUT_SECONDS = 1
# Writers of SQLite queue up behind each other: a burst waits for its turn, it is not an outage.
SQLITE_BUSY_SECONDS = 15
SQLITE_POOL_TIMEOUT_SECONDS = 5
# A connection that was used within this time is not checked before its next use.
RESTED_SECONDS = 1.0
# How long closing a connection may wait for the server, which never answers if it is frozen.
CLOSE_SECONDS = 0.25

# The execution option of connections that only read.
READ_ONLY = "authapi_read_only"
_RESTING_SINCE = "authapi_resting_since"

# In transaction mode PgBouncer gives each transaction whichever server connection is free. A statement that
# was prepared by name would be missing there, or pile up; an unnamed one lives until the next, and each of
# ours is used within the transaction that prepared it, or, outside of one, before the server is synced and
# PgBouncer gives its connection to somebody else. Timeouts cannot be asked for at connect: PgBouncer
# refuses such a connection, so they belong to the role (docs/operations.md).
_PGBOUNCER_OPTIONS: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,
}


class MalformedUrl(InvalidSettings):
    """A port, a driver or an option of the database's URL makes no sense.

    It does not say which: what the libraries say quotes pieces of the URL, and with them the password.
    """

    def __init__(self) -> None:
        super().__init__(["AUTHAPI_DATABASE__URL: is malformed or holds an unknown option"])


class _QuicklyClosed(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection that is closed within `CLOSE_SECONDS`: SQLAlchemy would make the request wait two seconds."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's
        await super().close(timeout=CLOSE_SECONDS if timeout is None else min(timeout, CLOSE_SECONDS))


def create_engine(url: str, *, pool_size: int, timeout: timedelta, pgbouncer: bool) -> AsyncEngine:
    """The engine for a URL; raises `MalformedUrl`, and so does the first attempt to connect."""
    try:
        if url.startswith("sqlite"):
            engine = _sqlite_engine(url, pool_size=pool_size)
        else:
            engine = _postgresql_engine(url, pool_size=pool_size, timeout=timeout, pgbouncer=pgbouncer)
    except (ArgumentError, ValueError, TypeError):
        raise MalformedUrl from None
    event.listen(engine.sync_engine, "do_connect", _connect_first, once=True)
    return engine


def _connect_first(
    dialect: Dialect, _record: ConnectionPoolEntry, arguments: tuple[Any, ...], options: dict[str, Any]
) -> DBAPIConnection:
    """What SQLAlchemy would do itself, but for what it raises when the driver cannot make sense of the URL."""
    try:
        return dialect.connect(*arguments, **options)
    except (ValueError, TypeError) as error:
        # They say what is wrong with the server, among them a certificate that nobody trusts.
        if isinstance(error, (OSError, asyncpg.InterfaceError)):
            raise
        raise MalformedUrl from None


def _postgresql_engine(url: str, *, pool_size: int, timeout: timedelta, pgbouncer: bool) -> AsyncEngine:
    seconds = timeout.total_seconds()
    engine = create_async_engine(
        url,
        poolclass=FairQueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        # A statement's parameters hold e-mail addresses and hashes; they must not reach a log.
        hide_parameters=True,
        connect_args={
            "connection_class": _QuicklyClosed,
            "timeout": seconds,
            "command_timeout": seconds,
            "server_settings": {"application_name": "authapi", "timezone": "UTC"}
            if pgbouncer
            else {
                "application_name": "authapi",
                "timezone": "UTC",
                "statement_timeout": str(int(seconds * 1000)),
                "lock_timeout": str(int(seconds * 1000)),
                "idle_in_transaction_session_timeout": "30000",
            },
            **(_PGBOUNCER_OPTIONS if pgbouncer else {}),
        },
    )
    event.listen(engine.sync_engine, "connect", _start_rest)
    event.listen(engine.sync_engine, "checkout", _check_rested_connection)
    event.listen(engine.sync_engine, "checkin", _start_rest)
    return engine


def _start_rest(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info[_RESTING_SINCE] = time.monotonic()


def _check_rested_connection(
    connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Have the pool connect anew if a connection has died while it was idle.

    SQLAlchemy's `pool_pre_ping` spends three round trips on each use (BEGIN, an empty statement, ROLLBACK), as many
    as a refresh by itself.
    """
    driver: asyncpg.Connection = connection.driver_connection
    # The event loop notices when a server ends a connection; only what went silent has to be asked.
    is_alive = not driver.is_closed()
    if is_alive and time.monotonic() - record.info[_RESTING_SINCE] > RESTED_SECONDS:
        try:
            await_only(driver.execute("SELECT 1"))
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            # The driver is just reading that the server has ended it.
            asyncpg.InternalClientError,
        ):
            is_alive = False
    if not is_alive:
        raise InvalidatePoolError


def _use_write_ahead_log(cursor: DBAPICursor) -> None:
    deadline = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            # Only on a new file that others open at this moment: SQLite does not wait by itself here.
            if time.monotonic() > deadline:
                raise
            await_only(asyncio.sleep(0.01))
        else:
            return


def _sqlite_engine(url: str, *, pool_size: int) -> AsyncEngine:
    database = make_url(url).database
    engine = create_async_engine(
        url,
        poolclass=FairQueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=SQLITE_POOL_TIMEOUT_SECONDS,
        hide_parameters=True,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def make_directory(*_: object) -> None:
        if database and database != ":memory:":
            Path(database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        # The driver must not open transactions by itself: they would be deferred ones.
        connection.isolation_level = None
        cursor = connection.cursor()
        _use_write_ahead_log(cursor)
        # What was answered with 2xx survives a power cut, not only a crash.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "reset")
    def reset(connection: DBAPIConnection, _record: ConnectionPoolEntry, state: PoolResetState) -> None:
        # SQLAlchemy takes a transaction whose COMMIT failed (disk full, a constraint) for ended. SQLite does
        # not: the connection would return to the pool with the write lock, and nobody could write any more.
        if state.asyncio_safe and connection.driver_connection.in_transaction:
            connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        is_reading = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")

    return engine
