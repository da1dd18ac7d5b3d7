"""Password hashes."""

from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from authapi import clock
from authapi.models import PasswordCredential, Role, User

# Put together once, like every statement of a login.
_OF_ADDRESS = (
    select(User.id, PasswordCredential.password_hash)
    .outerjoin(PasswordCredential, PasswordCredential.user_id == User.id)
    .where(User.email_canonical == bindparam("email_canonical"))
)
_WITH_USER = (
    select(User, PasswordCredential.password_hash)
    .outerjoin(PasswordCredential, PasswordCredential.user_id == User.id)
    .where(User.id == bindparam("user_id"))
    .options(joinedload(User.roles).joinedload(Role.permissions))
)


async def find_hash_confidential(db: AsyncSession, *, user_id: UUID) -> str | None:
    """The stored hash of a user, to be handed to the hasher and to nothing else."""
    return await db.scalar(
        select(PasswordCredential.password_hash).where(PasswordCredential.user_id == user_id)
    )


async def find_by_email_confidential(
    db: AsyncSession, *, email_canonical: str
) -> tuple[UUID, str | None] | None:
    """The user of an address and the stored hash, None for one who has no password.

    One statement, and without the roles, whether or not there is such a user: more would show in the time.
    """
    row = (await db.execute(_OF_ADDRESS, {"email_canonical": email_canonical})).one_or_none()
    return None if row is None else (row.id, row.password_hash)


async def find_with_user_confidential(db: AsyncSession, *, user_id: UUID) -> tuple[User, str | None] | None:
    """The user with his rights and the stored hash, as the database has them now."""
    found = await db.execute(_WITH_USER, {"user_id": user_id}, execution_options={"populate_existing": True})
    row = found.unique().one_or_none()
    return None if row is None else (row.User, row.password_hash)


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
