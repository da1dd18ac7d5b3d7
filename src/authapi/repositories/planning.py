"""What PostgreSQL's planner is told, and what it is asked."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, Executable, Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from authapi.repositories.dialect import is_postgresql

# Beyond this many rows a number is an estimate: counting a million takes as long as a hundred logins.
EXACT_UP_TO = 10_000
# So many rows are sorted in a few hundredths of a second.
FEW = 10_000


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows, and whether it is the planner's estimate."""

    number: int
    is_estimate: bool = False


async def plan_for_these_values(db: AsyncSession) -> None:
    """Plan the statements of this transaction for the values that they are given.

    After some executions PostgreSQL keeps one generic plan for all values. With a filter, an order and a limit, a
    generic plan assumes matches are frequent and scans the order's index; for a rare value that is nearly the whole
    table.
    """
    if is_postgresql(db):
        await db.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


async def are_few(db: AsyncSession, *statements: Select[Any]) -> bool:
    """Whether all of these together have few rows; each is read until that is known.

    With few matches, fetch all and sort; with many, scan the order's index until the page is full. The planner
    cannot choose by itself: it assumes that matches are spread evenly over the index. For clustered ones (users of
    one domain who all registered last spring) it would scan everything newer first. False on SQLite.
    """
    if not is_postgresql(db):
        return False
    rows = 0
    for statement in statements:
        first = statement.limit(FEW + 1 - rows).subquery()
        rows += await db.scalar(select(func.count()).select_from(first)) or 0
        if rows > FEW:
            return False
    return True


async def count(
    db: AsyncSession, statement: Select[Any], *, estimated_by: Select[Any] | None = None
) -> Count:
    """How many rows a statement has: exactly up to `EXACT_UP_TO`, beyond it as the planner estimates.

    `estimated_by` has the same rows by conditions that do not follow from each other, which the planner would
    otherwise count twice. SQLite cannot estimate: its numbers are exact, and take their time.
    """
    if not is_postgresql(db):
        return Count(await db.scalar(select(func.count()).select_from(statement.subquery())) or 0)
    first = statement.limit(EXACT_UP_TO + 1).subquery()
    number = await db.scalar(select(func.count()).select_from(first)) or 0
    if number <= EXACT_UP_TO:
        return Count(number)
    plans = (await db.execute(_Explained(statement if estimated_by is None else estimated_by))).scalar_one()
    return Count(max(number, plans[0]["Plan"]["Plan Rows"]), is_estimate=True)


class _Explained(Executable, ClauseElement):
    """The plan of a statement, which is not executed."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explained, "postgresql")
def _compile_explained(element: _Explained, compiler: SQLCompiler, **options: Any) -> str:
    return "EXPLAIN (FORMAT JSON) " + compiler.process(element.statement, **options)
