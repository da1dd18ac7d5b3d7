"""Database sessions and the unit of work: the only place that commits."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from authapi.database_engines import READ_ONLY, create_engine
from authapi.errors import AuthApiError
from authapi.settings import Settings

# Both are multiples of the statement timeout: how long the server may stay silent, and how long the whole
# transaction may take, including waiting for a connection and rolling back.
SILENCE_FACTOR = 1.25
DEADLINE_FACTOR = 5

_CALLBACKS = "authapi_after_commit"
_DEADLINE = "authapi_deadline"


class Database:
    """An engine and the factory of its sessions; raises `MalformedUrl`, here or with the first connection."""

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
        self.engine = create_engine(url, pool_size=pool_size, timeout=timeout, pgbouncer=pgbouncer)
        # SQLite has no server that could freeze, and what runs in its thread cannot be broken off.
        self._patience = None if self.is_sqlite else timeout.total_seconds()
        event.listen(self.engine.sync_engine, "after_cursor_execute", _renew_deadline)
        event.listen(self.engine.sync_engine, "checkin", _detach_deadline)
        # The same pool, with other transactions, or none.
        self._reading = self.engine.execution_options(**{READ_ONLY: True})
        self._asking = (
            self._reading if self.is_sqlite else self._reading.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._sessions = async_sessionmaker(
            self.engine, expire_on_commit=False, sync_session_class=_TimedSession
        )

    @classmethod
    def of(cls, settings: Settings, *, pool_size: int | None = None) -> "Database":
        """The database that the settings name; with a pool of another size than theirs, if one is given."""
        return cls(
            settings.database_url,
            pool_size=pool_size or settings.database.pool_size,
            timeout=settings.database.timeout,
            pgbouncer=settings.database.pgbouncer,
        )

    @property
    def connections_in_use(self) -> int:
        """Connections that somebody holds at this moment, of at most `pool_size`."""
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    @asynccontextmanager
    async def reading(self, *, in_transaction: bool = True) -> AsyncIterator[AsyncSession]:
        """Open a session for reading only: on SQLite it does not queue up behind the writers.

        Not `in_transaction` is for a single statement, which PostgreSQL then answers in one round trip of three.
        """
        async with self._sessions(bind=self._reading if in_transaction else self._asking) as db:
            # Connect now, so that an exhausted pool fails here and not in the caller's first query.
            await db.connection()
            yield db

    async def connect(self) -> AsyncConnection:
        """Open a connection to be kept, for statements that read and each stand alone; the caller closes it."""
        return await self._asking.connect()

    @asynccontextmanager
    async def unit_of_work(self, *, bounded: bool = False) -> AsyncIterator[AsyncSession]:
        """Open a session that commits at the end, or rolls back if the block raises.

        An `AuthApiError` with `keeps_writes` commits what was written (a failed login stays on record) and is
        raised all the same. `bounded` is for requests: with a server that has stopped answering it ends with
        `TimeoutError`, its connection is thrown away, and the caller is not kept waiting for that. If it was
        committing, nobody knows the outcome.
        """
        deadline = _Deadline(self._patience if bounded else None)
        db = self._sessions(info={_DEADLINE: deadline})
        async with deadline.timeout:
            try:
                yield db
                await _commit(db)
            except AuthApiError as error:
                if error.keeps_writes:
                    await _commit(db)
                raise
            finally:
                # Not by `async with db`, which costs time even if the transaction has ended, and which waits for a
                # frozen server even after the deadline.
                if db.in_transaction():
                    await asyncio.shield(asyncio.create_task(db.close()))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


class _Deadline:
    """Cancels the block of a task whose transaction gets no answer; `patience` in seconds, None for no limit."""

    def __init__(self, patience: float | None) -> None:
        self.timeout = asyncio.timeout(None)
        self._patience = patience
        self._strikes_at = self._latest = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """A transaction begins: the pool is asked for a connection next."""
        if self._patience is not None:
            self._latest = time.monotonic() + self._patience * DEADLINE_FACTOR
            self.renew()
            self._look_later()

    def renew(self) -> None:
        """The server has answered."""
        # A number, and not a timer set anew: this happens after every statement.
        if self._patience is not None:
            self._strikes_at = min(time.monotonic() + self._patience * SILENCE_FACTOR, self._latest)

    def stop(self) -> None:
        """The transaction has ended: what comes now, such as hashing, does not count."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        else:
            # The deadline may have just passed: take it back, or it would cancel the code after the transaction.
            self._reschedule(None)

    def _look_later(self) -> None:
        delay = self._strikes_at - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        if time.monotonic() < self._strikes_at:
            self._look_later()
            return
        self._timer = None
        self._reschedule(0)

    def _reschedule(self, when: float | None) -> None:
        # Refused once the block has been left: the session is then closed by a task that nobody waits for.
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
    if db.in_transaction():
        await db.commit()
    for callback in db.info.pop(_CALLBACKS, ()):
        callback()
