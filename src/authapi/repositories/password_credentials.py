"""Password hashes."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.models import PasswordCredential


async def find_hash_confidential(db: AsyncSession, *, user_id: UUID) -> str | None:
    """The stored hash of a user, to be handed to the hasher and to nothing else."""
    return await db.scalar(
        select(PasswordCredential.password_hash).where(PasswordCredential.user_id == user_id)
    )


async def add(db: AsyncSession, *, user_id: UUID, password_hash: str) -> None:
    """Store the first hash of a user."""
    db.add(PasswordCredential(user_id=user_id, password_hash=password_hash))
    await db.flush()


async def replace(db: AsyncSession, *, user_id: UUID, password_hash: str) -> None:
    """Store another hash; the caller holds the lock on the user's row."""
    await db.execute(
        update(PasswordCredential)
        .where(PasswordCredential.user_id == user_id)
        .values(password_hash=password_hash, updated_at=clock.utc_now())
    )
