"""Promotion: an installation on SQLite moves to PostgreSQL, with everything that its users hold.

Rows are copied as they are, ids and sealed values included: under the same secret key every token stays
valid, every revoked one stays revoked, and the chain of the audit trail goes on.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Table, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import ConnectionPoolEntry

from authapi import migrations
from authapi.database import Database
from authapi.enums import AuditAction
from authapi.migrations import SchemaState, schema_state
from authapi.models import Revocation
from authapi.repositories import signing_keys, whole_tables
from authapi.services import audit

BATCH = 5000

OnProgress = Callable[[str, int, int], None]
"""Called with the table's name, the rows of all tables that are done, and how many there are."""


class PromotionRefused(Exception):
    """Nothing was moved; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class MovedTable:
    """A table and how many rows of it were moved."""

    name: str
    rows: int


def _require_sqlite_file(database_url: str) -> None:
    """Raise `PromotionRefused` if the file is missing: connecting would create an empty database."""
    file = Path(make_url(database_url).database or "")
    if not file.is_file():
        raise PromotionRefused(f"there is no SQLite database at {file}")


async def promote(*, source_url: str, target_url: str, on_progress: OnProgress) -> list[MovedTable]:
    """Copy everything from SQLite to an empty PostgreSQL database, all or nothing.

    The schema is created at the target first; its built-in roles and permissions are replaced by those of the
    source. The source is locked meanwhile, because anything written to it after the copy would be lost. Raises
    `PromotionRefused`, and what the databases raise.
    """
    _require_sqlite_file(source_url)
    source = Database(source_url, pool_size=1)
    event.listen(source.engine.sync_engine, "connect", _keep_others_out, insert=True)
    target = migrations.open_for_migration(target_url)
    try:
        await _check_source(source)
        await _prepare_target(target, target_url)
        async with source.reading() as old, target.unit_of_work() as new:
            return await _move(old, new, on_progress)
    finally:
        await target.close()
        await source.close()


def _keep_others_out(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # Refused while anybody has the file open, as a running service always has.
    cursor.execute("PRAGMA busy_timeout = 1000")
    cursor.execute("PRAGMA locking_mode = EXCLUSIVE")
    cursor.execute("SELECT count(*) FROM sqlite_master")
    cursor.fetchall()
    cursor.close()


async def _check_source(source: Database) -> None:
    try:
        state = await schema_state(source)
    except DatabaseError as error:
        if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise PromotionRefused(f"the SQLite database cannot be read: {error.orig}") from None
        raise PromotionRefused(
            "the SQLite database is in use; stop the service, so that nothing is written that would stay behind"
        ) from None
    if state is SchemaState.BEHIND:
        raise PromotionRefused(str(migrations.SchemaBehind()))
    if state is SchemaState.AHEAD:
        # It may have tables and columns that nobody here would copy.
        raise PromotionRefused("the SQLite database is of a newer release; promote with that one")


async def _prepare_target(target: Database, target_url: str) -> None:
    state = await schema_state(target)
    if state is SchemaState.AHEAD:
        raise PromotionRefused("the target's schema is of a newer release")
    if state is SchemaState.BEHIND:
        await migrations.upgrade(target_url)


async def _move(old: AsyncSession, new: AsyncSession, on_progress: OnProgress) -> list[MovedTable]:
    await whole_tables.forbid_writing(old)
    # A service that starts on the target in this moment makes its first key behind this lock.
    await signing_keys.lock(new)
    present = await whole_tables.count_beyond_seeds(new)
    if present:
        found = ", ".join(f"{number} {name}" for name, number in present.items())
        raise PromotionRefused(f"the target is not empty, it has {found}; make another database for this")
    await whole_tables.clear(new)
    totals = {table: await whole_tables.count(old, table) for table in whole_tables.TABLES}
    transaction_id = await whole_tables.current_transaction_id(new)
    done = 0
    for table in whole_tables.TABLES:
        # By this number other processes and services read on in the revocations.
        fixed = {"transaction_id": transaction_id} if table is Revocation.__table__ else {}
        on_progress(table.name, done, sum(totals.values()))
        async with aclosing(whole_tables.read(old, table, batch=BATCH)) as batches:
            async for rows in batches:
                await whole_tables.copy_in(new, table, rows, fixed=fixed)
                done += len(rows)
                on_progress(table.name, done, sum(totals.values()))
    await whole_tables.advance_sequences(new)
    await _compare(new, totals)
    await whole_tables.analyze(new)
    await audit.record(new, AuditAction.INSTALLATION_MOVED, details={"rows": done})
    return [MovedTable(table.name, total) for table, total in totals.items()]


async def _compare(new: AsyncSession, expected: Mapping[Table, int]) -> None:
    for table, total in expected.items():
        found = await whole_tables.count(new, table)
        if found != total:
            raise PromotionRefused(f"{table.name}: {total} rows were read, {found} have arrived")
