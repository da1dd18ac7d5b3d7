"""Signing keys, sealed."""

from datetime import datetime

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import SigningKey
from authapi.repositories import advisory_locks
from authapi.repositories.advisory_locks import AdvisoryLock


async def lock(db: AsyncSession) -> None:
    """Keep other hosts from creating or rotating keys until the transaction ends."""
    await advisory_locks.lock(db, AdvisoryLock.SIGNING_KEYS)


async def list_all(db: AsyncSession) -> list[SigningKey]:
    """Every key, the one that was activated last first."""
    return list(await db.scalars(_newest_first()))


async def list_verifying(db: AsyncSession, *, now: datetime) -> list[SigningKey]:
    """The keys whose tokens are still accepted, the one that was activated last first."""
    verifies = or_(SigningKey.verifies_until.is_(None), SigningKey.verifies_until > now)
    return list(await db.scalars(_newest_first().where(verifies)))


async def add(db: AsyncSession, key: SigningKey) -> None:
    """Insert a key."""
    db.add(key)
    await db.flush()


def _newest_first() -> Select[SigningKey]:
    # The id decides between equal instants, the same on every host.
    return select(SigningKey).order_by(SigningKey.activates_at.desc(), SigningKey.id.desc())
