"""Many users at once: reading on through all of them, and inserting them by the hundred."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import PasswordCredential, User, user_roles


async def find_taken_emails(db: AsyncSession, emails_canonical: Collection[str]) -> set[str]:
    """Which of these canonical addresses have an account, a deleted one included."""
    statement = select(User.email_canonical).where(User.email_canonical.in_(emails_canonical))
    return set(await db.scalars(statement))


async def find_taken_ids(db: AsyncSession, ids: Collection[UUID]) -> set[UUID]:
    """Which of these ids have an account."""
    return set(await db.scalars(select(User.id).where(User.id.in_(ids))))


async def insert_all(
    db: AsyncSession,
    *,
    users: list[dict[str, Any]],
    password_hashes: dict[UUID, str],
    assignments: list[dict[str, Any]],
) -> None:
    """Insert accounts (one at least), the hashes of those who have one, and rows of assigned roles.

    Raises `IntegrityError` when somebody else was faster with an address or an id.
    """
    credentials = [{"user_id": id, "password_hash": stored} for id, stored in password_hashes.items()]
    await db.execute(insert(User), users)
    if credentials:
        await db.execute(insert(PasswordCredential), credentials)
    if assignments:
        await db.execute(insert(user_roles), assignments)


async def read_on(db: AsyncSession, *, after: str, limit: int) -> Sequence[User]:
    """Accounts behind a canonical address, in the order of addresses; deleted ones are left out."""
    statement = select(User).where(User.email_canonical > after, User.deleted_at.is_(None))
    return (await db.scalars(statement.order_by(User.email_canonical).limit(limit))).all()


async def find_hashes_confidential(db: AsyncSession, user_ids: Collection[UUID]) -> dict[UUID, str]:
    """The stored hashes of many users, for an export that was asked for them."""
    statement = select(PasswordCredential.user_id, PasswordCredential.password_hash)
    rows = await db.execute(statement.where(PasswordCredential.user_id.in_(user_ids)))
    return {row.user_id: row.password_hash for row in rows}
