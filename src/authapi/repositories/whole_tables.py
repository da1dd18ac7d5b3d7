"""Whole tables, whatever they mean: how an installation moves to another database."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Row, Table, Text, cast, delete, func, select, text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import Base, Permission, Role, role_permissions

# Parents first, so that every reference finds its row.
TABLES: Sequence[Table] = Base.metadata.sorted_tables

# The migrations fill these; what counts there is what somebody has added.
_BUILT_IN = {model.__table__: ~model.__table__.c.is_built_in for model in (Permission, Role)}


async def forbid_writing(db: AsyncSession) -> None:
    """From now on SQLite refuses every change over this connection."""
    await db.execute(text("PRAGMA query_only = ON"))


async def count(db: AsyncSession, table: Table) -> int:
    """How many rows a table has; reads them all."""
    return await db.scalar(select(func.count()).select_from(table)) or 0


async def count_beyond_seeds(db: AsyncSession) -> dict[str, int]:
    """How many rows there are by table besides those that the migrations made; tables without are left out."""
    counted: dict[str, int] = {}
    for table in TABLES:
        if table is not role_permissions:
            statement = select(func.count()).select_from(table)
            if table in _BUILT_IN:
                statement = statement.where(_BUILT_IN[table])
            counted[table.name] = await db.scalar(statement) or 0
    return {name: number for name, number in counted.items() if number}


async def read(db: AsyncSession, table: Table, *, batch: int) -> AsyncGenerator[Sequence[Row[Any]], None]:
    """All rows of a table in batches, of which one at a time is in memory."""
    connection = await db.connection()
    result = await connection.stream(select(table), execution_options={"yield_per": batch})
    async for rows in result.partitions(batch):
        yield rows


async def clear(db: AsyncSession) -> None:
    """Delete every row of every table."""
    for table in reversed(TABLES):
        await db.execute(delete(table))


async def copy_in(
    db: AsyncSession, table: Table, rows: Sequence[Row[Any]], *, fixed: Mapping[str, Any] | None = None
) -> None:
    """Append rows with PostgreSQL's COPY; `fixed` holds values that every row gets in these columns.

    Raises what asyncpg raises, and RuntimeError unless the transaction has begun with another statement.
    """
    connection = await db.connection()
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is None or not driver.is_in_transaction():
        # COPY goes past SQLAlchemy, which would not begin the transaction for it.
        raise RuntimeError("no transaction has begun")
    writers = [_writer(column, connection.dialect, fixed or {}) for column in table.columns]
    await driver.copy_records_to_table(
        table.name,
        columns=[column.name for column in table.columns],
        records=[tuple(write(v) for write, v in zip(writers, row, strict=True)) for row in rows],
    )


async def advance_sequences(db: AsyncSession) -> None:
    """Make PostgreSQL's generated numbers go on behind the highest one of each table."""
    for table in TABLES:
        for column in table.columns:
            if column.identity is not None:
                highest = select(func.coalesce(func.max(column), 0)).scalar_subquery()
                sequence = func.pg_get_serial_sequence(table.name, column.name)
                await db.execute(select(func.setval(sequence, highest + 1, False)))


async def current_transaction_id(db: AsyncSession) -> int:
    """The number of this transaction, which from now on is one that writes."""
    number = cast(cast(func.pg_current_xact_id(), Text), BigInteger)
    return (await db.execute(select(number))).scalar_one()


async def analyze(db: AsyncSession) -> None:
    """Let PostgreSQL's planner know what the tables hold, now and not some minutes later."""
    await db.execute(text("ANALYZE"))


def _writer(column: Column[Any], dialect: Dialect, fixed: Mapping[str, Any]) -> Callable[[Any], Any]:
    """What turns a value of a row into the one that the driver takes."""
    if column.name in fixed:
        value = fixed[column.name]
        return lambda _: value
    process = column.type.dialect_impl(dialect).bind_processor(dialect)
    if process is None:
        return lambda value: value
    # An absent JSON document is no JSON null.
    return lambda value: None if value is None and column.nullable else process(value)
