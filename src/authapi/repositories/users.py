"""Users and the roles assigned to them."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.models import Role, User, user_roles


async def find_by_email(db: AsyncSession, *, email_canonical: str) -> User | None:
    """The account of a canonical address."""
    return await db.scalar(select(User).where(User.email_canonical == email_canonical))


async def find_by_id(db: AsyncSession, user_id: UUID) -> User | None:
    """The account, as the database has it now."""
    return await db.scalar(select(User).where(User.id == user_id).execution_options(populate_existing=True))


async def find_for_update(db: AsyncSession, user_id: UUID) -> User | None:
    """The account, locked until the transaction ends, so that no other change slips in between."""
    statement = select(User).where(User.id == user_id).with_for_update()
    return await db.scalar(statement.execution_options(populate_existing=True))


async def add(db: AsyncSession, user: User) -> None:
    """Insert an account; raises `EmailTaken` if the address has one, also when a race decided it."""
    db.add(user)
    try:
        await db.flush()
    except IntegrityError:
        raise errors.EmailTaken from None


async def replace_roles(db: AsyncSession, user: User, roles: Iterable[Role]) -> None:
    """Assign exactly these roles."""
    await db.execute(delete(user_roles).where(user_roles.c.user_id == user.id))
    now = clock.utc_now()
    rows = [{"user_id": user.id, "role_id": role.id, "assigned_at": now} for role in roles]
    if rows:
        await db.execute(insert(user_roles), rows)
    await db.refresh(user, ["roles"])
