"""Which database it is, for the few statements that differ."""

from typing import Any

from sqlalchemy import Function, String, bindparam, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession


def is_postgresql(db: AsyncSession | AsyncConnection) -> bool:
    """Whether the session or connection is PostgreSQL's; it is SQLite's otherwise."""
    dialect = db.dialect if isinstance(db, AsyncConnection) else db.get_bind().dialect
    return dialect.name == "postgresql"


def split_list(parameter: str) -> Function[Any]:
    """For PostgreSQL, the array of texts in a comma-separated parameter; empty ones are NULL.

    One parameter, so that lists of any length share one prepared statement. A comma-separated text, not an array:
    asyncpg looks up array types on every new connection, which costs more than the statement.
    """
    return func.string_to_array(bindparam(parameter, type_=String), ",", "", type_=ARRAY(String))
