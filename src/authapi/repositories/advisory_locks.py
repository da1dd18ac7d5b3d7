"""Locks for which no row stands, held until the transaction ends.

PostgreSQL has them by number. SQLite has one writer at a time: there its write lock does the same by itself.
"""

from enum import IntEnum

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.repositories.dialect import is_postgresql

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")


class AdvisoryLock(IntEnum):
    """What one host does at a time; any numbers, as long as nothing else on the server uses them."""

    MIGRATION = 0x61757468
    SIGNING_KEYS = 0x6B657973
    AUDIT_CHAIN = 0x61756469
    HOUSEKEEPING = 0x70757267


async def lock(db: AsyncSession, key: int) -> None:
    """Wait until nobody else holds the lock, and hold it."""
    if is_postgresql(db):
        await db.execute(_LOCK, {"key": key})


async def try_lock(db: AsyncSession, key: int) -> bool:
    """Hold the lock if nobody else does; False if somebody does."""
    if not is_postgresql(db):
        return True
    return bool(await db.scalar(_TRY_LOCK, {"key": key}))
