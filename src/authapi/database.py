"""The database engine, its sessions, and the unit of work: the only place that commits.

PostgreSQL and SQLite behave alike above this module. SQLite runs with a write-ahead log, enforced foreign
keys and `BEGIN IMMEDIATE`: a transaction that reads and then writes would otherwise fail with "database is
locked" as soon as another process writes in between.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, PoolResetState, QueuePool
from sqlalchemy.util import await_only

from authapi.errors import AuthApiError
from authapi.fair_pool import FairQueuePool

# How long a request waits for a connection of an exhausted pool before it is answered with 503.
POOL_TIMEOUT_SECONDS = 1
# Writers of SQLite queue up behind each other: a burst waits for its turn, it is not an outage.
SQLITE_BUSY_SECONDS = 15
SQLITE_POOL_TIMEOUT_SECONDS = 5

# A transaction of a request ends when the server has been silent for so many times the longest statement, asking
# for a connection and a rollback included; or when it has taken so many times as long altogether.
SILENCE_FACTOR = 1.25
DEADLINE_FACTOR = 5
# One that was used a moment ago has shown that it is alive.
RESTED_SECONDS = 1.0
# How long a connection that is given up may take to say good-bye. A frozen server never answers.
CLOSE_SECONDS = 0.25

_CALLBACKS = "authapi_after_commit"
_DEADLINE = "authapi_deadline"
_READ_ONLY = "authapi_read_only"
_RESTING_SINCE = "authapi_resting_since"

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
        # SQLite has no server that could freeze, and what runs in its thread cannot be broken off.
        self._patience = None if self.is_sqlite else timeout.total_seconds()
        self._sessions = async_sessionmaker(
            self.engine, expire_on_commit=False, sync_session_class=_TimedSession
        )

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
    async def unit_of_work(self, *, bounded: bool = False) -> AsyncIterator[AsyncSession]:
        """Open a session that commits at the end, or rolls back if the block raises.

        An `AuthApiError` with `keeps_writes` commits what was written (a failed login stays on record) and is
        raised all the same. `bounded` is for requests: with a server that has stopped to answer it ends with
        `TimeoutError`, its connection is thrown away, and the caller is not kept waiting for that. If it was
        committing, nobody knows the outcome.
        """
        deadline = _Deadline(self._patience if bounded else None)
        async with deadline.timeout, self._sessions(info={_DEADLINE: deadline}) as db:
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


class _Deadline:
    """Ends the task's block once a transaction of it gets no answer; `patience` in seconds, None never does."""

    def __init__(self, patience: float | None) -> None:
        self.timeout = asyncio.timeout(None)
        self._patience = patience
        self._latest = 0.0

    def start(self) -> None:
        """A transaction begins: the pool is asked for a connection next."""
        if self._patience is not None:
            self._latest = asyncio.get_running_loop().time() + self._patience * DEADLINE_FACTOR
            self.renew()

    def renew(self) -> None:
        """The server has answered."""
        if self._patience is not None:
            silent_until = asyncio.get_running_loop().time() + self._patience * SILENCE_FACTOR
            self._reschedule(min(silent_until, self._latest))

    def stop(self) -> None:
        """The transaction has ended: what comes now, such as hashing, does not count."""
        if self._patience is not None:
            self._reschedule(None)

    def _reschedule(self, when: float | None) -> None:
        # Refused once it has struck: the session is then closed by a task that nobody waits for.
        with suppress(RuntimeError):
            self.timeout.reschedule(when)


class _TimedSession(Session):
    """Tells its deadline about its transactions and their statements."""


@event.listens_for(_TimedSession, "after_transaction_create")
def _start_deadline(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None and _DEADLINE in session.info:
        session.info[_DEADLINE].start()


@event.listens_for(_TimedSession, "after_begin")
def _attach_deadline(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    connection.info[_DEADLINE] = session.info.get(_DEADLINE)


@event.listens_for(_TimedSession, "after_transaction_end")
def _stop_deadline(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None and _DEADLINE in session.info:
        session.info[_DEADLINE].stop()


def _renew_deadline(connection: Connection, *_: Any) -> None:
    deadline: _Deadline | None = connection.info.get(_DEADLINE)
    if deadline is not None:
        deadline.renew()


def _detach_deadline(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    # It leads to its task, which may have ended with an error whose frames hold a password.
    record.info.pop(_DEADLINE, None)


class _QuicklyClosed(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection whose end nobody waits for: SQLAlchemy allows it two seconds, in the request's own time."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's
        await super().close(timeout=CLOSE_SECONDS if timeout is None else min(timeout, CLOSE_SECONDS))


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
    event.listen(engine.sync_engine, "after_cursor_execute", _renew_deadline)
    event.listen(engine.sync_engine, "connect", _start_rest)
    event.listen(engine.sync_engine, "checkout", _check_rested_connection)
    event.listen(engine.sync_engine, "checkin", _detach_deadline)
    event.listen(engine.sync_engine, "checkin", _start_rest)
    return engine


def _start_rest(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info[_RESTING_SINCE] = time.monotonic()


def _check_rested_connection(
    connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Have the pool connect anew if a connection has died while nobody used it.

    SQLAlchemy's `pool_pre_ping` spends three round trips on each use, as many as a refresh by itself.
    """
    driver: asyncpg.Connection = connection.driver_connection
    # The event loop notices when a server ends a connection; only what went silent has to be asked.
    is_alive = not driver.is_closed()
    if is_alive and time.monotonic() - record.info[_RESTING_SINCE] > RESTED_SECONDS:
        try:
            await_only(driver.execute("SELECT 1"))
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
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
    if database and database != ":memory:":
        Path(database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_async_engine(
        url,
        poolclass=FairQueuePool,
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
