"""Users and the roles assigned to them."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import BuiltInRole
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


async def find_other_active_admin(db: AsyncSession, user_id: UUID) -> UUID | None:
    """An active administrator besides this user.

    Whoever else asks waits until the transaction ends: of two administrators who leave at once, the second
    must not count on the first. Lock the user's row before, never after, or two such transactions deadlock.
    """
    admin_role = select(Role.id).where(Role.name == BuiltInRole.ADMIN)
    await db.execute(admin_role.with_for_update(key_share=True))
    return await db.scalar(
        select(User.id)
        .join(user_roles, user_roles.c.user_id == User.id)
        .where(
            user_roles.c.role_id == admin_role.scalar_subquery(),
            User.id != user_id,
            User.disabled_at.is_(None),
        )
        .limit(1)
    )


async def remove(db: AsyncSession, user_id: UUID) -> None:
    """Delete an account; its password, sessions and roles go with it."""
    await db.execute(delete(User).where(User.id == user_id))
