"""The database engine, its sessions, and the unit of work: the only place that commits.

PostgreSQL and SQLite behave alike above this module. SQLite runs with a write-ahead log, enforced foreign
keys and `BEGIN IMMEDIATE`: a transaction that reads and then writes would otherwise fail with "database is
locked" as soon as another process writes in between.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState, QueuePool
from sqlalchemy.util import await_only

from authapi.errors import AuthApiError

# How long a request waits for a connection of an exhausted pool before it is answered with 503.
POOL_TIMEOUT_SECONDS = 1
# Writers of SQLite queue up behind each other: a burst waits for its turn, it is not an outage.
SQLITE_BUSY_SECONDS = 15
SQLITE_POOL_TIMEOUT_SECONDS = 5

_CALLBACKS = "authapi_after_commit"
_READ_ONLY = "authapi_read_only"

# In transaction mode PgBouncer gives each transaction whichever server connection is free. A statement that
# was prepared by name would be missing there, or pile up; an unnamed one lives until the next, and each of
# ours is used within the transaction that prepared it. Timeouts cannot be asked for at connect: PgBouncer
# refuses such a connection, so they belong to the role (docs/operations.md).
_PGBOUNCER_OPTIONS: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,
}


class Database:
    """An engine and the factory of its sessions; one per process."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        timeout: timedelta = timedelta(seconds=2),
        pgbouncer: bool = False,
    ) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self.pool_size = pool_size
        self.engine = (
            _sqlite_engine(url, pool_size=pool_size)
            if self.is_sqlite
            else _postgresql_engine(url, pool_size=pool_size, timeout=timeout, pgbouncer=pgbouncer)
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @property
    def connections_in_use(self) -> int:
        """Connections that somebody holds at this moment, of at most `pool_size`."""
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session for reading only: on SQLite it does not queue up behind the writers."""
        async with self._sessions() as db:
            await db.connection(execution_options={_READ_ONLY: True})
            yield db

    @asynccontextmanager
    async def unit_of_work(self) -> AsyncIterator[AsyncSession]:
        """Open a session that commits at the end, or rolls back if the block raises.

        An `AuthApiError` with `keeps_writes` commits what was written (a failed login stays on record) and is
        raised all the same.
        """
        async with self._sessions() as db:
            try:
                yield db
            except AuthApiError as error:
                if error.keeps_writes:
                    await _commit(db)
                raise
            await _commit(db)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


async def hand_back_connection(db: AsyncSession) -> None:
    """End the transaction so far and return its connection to the pool.

    Called before a password is hashed: a quarter of a second per login would otherwise exhaust the pool (and,
    on SQLite, hold the write lock) while the database has nothing to do. What was read stays usable; the next
    statement starts a new transaction and must not trust it where a race matters.
    """
    await _commit(db)


def after_commit(db: AsyncSession, callback: Callable[[], None]) -> None:
    """Call `callback` once the current transaction is committed, and never if it is rolled back."""
    db.info.setdefault(_CALLBACKS, []).append(callback)


async def _commit(db: AsyncSession) -> None:
    await db.commit()
    for callback in db.info.pop(_CALLBACKS, ()):
        callback()


def _postgresql_engine(url: str, *, pool_size: int, timeout: timedelta, pgbouncer: bool) -> AsyncEngine:
    seconds = timeout.total_seconds()
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_pre_ping=True,
        # A statement's parameters hold e-mail addresses and hashes; they must not reach a log.
        hide_parameters=True,
        connect_args={
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
    if database and database != ":memory:":
        Path(database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=SQLITE_POOL_TIMEOUT_SECONDS,
        hide_parameters=True,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
    )

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
        is_reading = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")

    return engine
