"""Signing keys, sealed."""

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import SigningKey

# One host at a time decides about keys; SQLite's write lock does the same by itself.
_ADVISORY_LOCK = 0x6B657973


async def lock(db: AsyncSession) -> None:
    """Keep other hosts from creating or rotating keys until the transaction ends."""
    if db.get_bind().dialect.name == "postgresql":
        await db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


async def list_all(db: AsyncSession) -> list[SigningKey]:
    """Every key, the one that was activated last first."""
    return list(await db.scalars(select(SigningKey).order_by(SigningKey.activates_at.desc())))


async def add(db: AsyncSession, key: SigningKey) -> None:
    """Insert a key."""
    db.add(key)
    await db.flush()
