"""One-time tokens, by digest."""

from collections.abc import Collection
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
    purposes: Collection[OneTimeTokenPurpose] = frozenset(OneTimeTokenPurpose),
    issued_after: datetime | None = None,
) -> None:
    """Make a user's unused tokens useless: of these purposes, and from after an instant if one is given."""
    statement = update(OneTimeToken).where(
        OneTimeToken.user_id == user_id,
        OneTimeToken.consumed_at.is_(None),
        OneTimeToken.purpose.in_(purposes),
    )
    if issued_after is not None:
        statement = statement.where(OneTimeToken.created_at > issued_after)
    await db.execute(statement.values(consumed_at=now, updated_at=now))


async def void_invitations(db: AsyncSession, *, email_canonical: str, now: datetime) -> None:
    """Make the unused invitations of an address useless."""
    await db.execute(
        update(OneTimeToken)
        .where(
            # Invitations have no user; saying so lets the index serve, whose first column is the user.
            OneTimeToken.user_id.is_(None),
            OneTimeToken.purpose == OneTimeTokenPurpose.ACCEPT_INVITATION,
            OneTimeToken.consumed_at.is_(None),
            OneTimeToken.data["email_canonical"].as_string() == email_canonical,
        )
        .values(consumed_at=now, updated_at=now)
    )
