"""Password hashes."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from authapi import clock
from authapi.models import PasswordCredential, Role, User
from authapi.models.base import table_of
from authapi.repositories.second_factors import is_enrolled

# Put together once, like every statement of a login.
_USERS, _CREDENTIALS = table_of(User), table_of(PasswordCredential)
_OF_ADDRESS = (
    select(_USERS.c.id, _USERS.c.email_verified_at.is_not(None), _CREDENTIALS.c.password_hash)
    .outerjoin_from(_USERS, _CREDENTIALS)
    .where(_USERS.c.email_canonical == bindparam("email_canonical"))
)
_WITH_USER = (
    select(User, PasswordCredential.password_hash, is_enrolled(User.id).label("has_second_factor"))
    .outerjoin(PasswordCredential, PasswordCredential.user_id == User.id)
    .where(User.id == bindparam("user_id"))
    .options(joinedload(User.roles).joinedload(Role.permissions))
)


@dataclass(frozen=True, slots=True)
class UserWithPassword:
    """A user, the hash of their password if they have one, and whether they have a second factor."""

    user: User
    password_hash: str | None
    has_second_factor: bool


async def find_hash_confidential(db: AsyncSession, *, user_id: UUID) -> str | None:
    """The stored hash of a user, to be handed to the hasher and to nothing else."""
    return await db.scalar(
        select(PasswordCredential.password_hash).where(PasswordCredential.user_id == user_id)
    )


@dataclass(frozen=True, slots=True)
class StoredPassword:
    """The user of an address, whether it is verified, and the hash of their password if they have one."""

    user_id: UUID
    email_verified: bool
    password_hash: str | None


async def find_by_email_confidential(db: AsyncSession, *, email_canonical: str) -> StoredPassword | None:
    """What a login compares a password with.

    The same single statement for known and unknown addresses: reading the roles too, which only a known one has,
    would show in the response time.
    """
    row = (await db.execute(_OF_ADDRESS, {"email_canonical": email_canonical})).one_or_none()
    return None if row is None else StoredPassword(*row)


async def find_with_user_confidential(db: AsyncSession, *, user_id: UUID) -> UserWithPassword | None:
    """The user with their rights, password hash and second factor, as the database has them now."""
    found = await db.execute(_WITH_USER, {"user_id": user_id}, execution_options={"populate_existing": True})
    row = found.unique().one_or_none()
    return None if row is None else UserWithPassword(row.User, row.password_hash, row.has_second_factor)


async def add(db: AsyncSession, *, user_id: UUID, password_hash: str) -> None:
    """Store the first hash of a user."""
    db.add(PasswordCredential(user_id=user_id, password_hash=password_hash))
    await db.flush()


async def remove(db: AsyncSession, *, user_id: UUID) -> None:
    """Leave a user without a password."""
    await db.execute(delete(PasswordCredential).where(PasswordCredential.user_id == user_id))


async def replace(db: AsyncSession, *, user_id: UUID, password_hash: str) -> None:
    """Store another hash; the caller holds the lock on the user's row."""
    await db.execute(
        update(PasswordCredential)
        .where(PasswordCredential.user_id == user_id)
        .values(password_hash=password_hash, updated_at=clock.utc_now())
    )
