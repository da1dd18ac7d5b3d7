"""Which database it is, for the few statements that differ."""

from sqlalchemy.ext.asyncio import AsyncSession


def is_postgresql(db: AsyncSession) -> bool:
    """Whether the session is PostgreSQL's; it is SQLite's otherwise."""
    return db.get_bind().dialect.name == "postgresql"
