"""One-time tokens, by digest."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.enums import OneTimeTokenPurpose
from authapi.models import OneTimeToken


async def add(db: AsyncSession, token: OneTimeToken) -> None:
    """Insert a token."""
    db.add(token)
    await db.flush()


async def find_valid(
    db: AsyncSession, *, purpose: OneTimeTokenPurpose, token_hash: bytes, now: datetime
) -> OneTimeToken | None:
    """The unused, unexpired token with this digest and purpose, without consuming it."""
    return await db.scalar(
        select(OneTimeToken).where(
            OneTimeToken.token_hash == token_hash,
            OneTimeToken.purpose == purpose,
            OneTimeToken.consumed_at.is_(None),
            OneTimeToken.expires_at > now,
        )
    )


async def consume(
    db: AsyncSession, *, purpose: OneTimeTokenPurpose, token_hash: bytes, now: datetime
) -> OneTimeToken | None:
    """Use a token up: of any number of concurrent callers exactly one gets it."""
    statement = (
        update(OneTimeToken)
        .where(
            OneTimeToken.token_hash == token_hash,
            OneTimeToken.purpose == purpose,
            OneTimeToken.consumed_at.is_(None),
            OneTimeToken.expires_at > now,
        )
        .values(consumed_at=now, updated_at=now)
        .returning(OneTimeToken)
    )
    return (await db.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def void_all(
    db: AsyncSession,
    *,
    user_id: UUID,
    now: datetime,
    purpose: OneTimeTokenPurpose | None = None,
    sparing: OneTimeTokenPurpose | None = None,
) -> None:
    """Make a user's unused tokens (of one purpose, of all, or of all but one) useless."""
    statement = update(OneTimeToken).where(
        OneTimeToken.user_id == user_id, OneTimeToken.consumed_at.is_(None)
    )
    if purpose is not None:
        statement = statement.where(OneTimeToken.purpose == purpose)
    if sparing is not None:
        statement = statement.where(OneTimeToken.purpose != sparing)
    await db.execute(statement.values(consumed_at=now, updated_at=now))
