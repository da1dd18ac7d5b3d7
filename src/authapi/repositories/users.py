"""Users and the roles assigned to them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, raiseload

from authapi import clock, errors
from authapi.enums import BuiltInRole, UserSort, UserStatus
from authapi.models import Role, User, user_roles
from authapi.repositories.pages import Keyset, Page, list_id, read_page


async def find_by_email(db: AsyncSession, *, email_canonical: str) -> User | None:
    """The account of a canonical address."""
    return await db.scalar(select(User).where(User.email_canonical == email_canonical))


async def find_bare_by_email(db: AsyncSession, *, email_canonical: str) -> User | None:
    """The account of a canonical address without its roles, which must not be asked for.

    One statement whether or not there is one: the roles of a known account would show in the time.
    """
    statement = select(User).where(User.email_canonical == email_canonical)
    return await db.scalar(statement.options(raiseload(User.roles)))


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
            User.deleted_at.is_(None),
        )
        .limit(1)
    )


async def remove(db: AsyncSession, user_id: UUID) -> None:
    """Delete an account; its password, sessions and roles go with it."""
    await db.execute(delete(User).where(User.id == user_id))


async def list_page(
    db: AsyncSession,
    *,
    email_prefix: str,
    name_prefix: str,
    role: str | None,
    status: UserStatus | None,
    sort: UserSort,
    cursor: str | None,
    limit: int,
) -> Page[User]:
    """Accounts whose canonical address or name key begins with the prefixes; raises `InvalidCursor`.

    Deleted ones that still wait to be erased are left out unless `status` asks for them.
    """
    is_deleted = User.deleted_at.is_not(None)
    statement = select(User).where(is_deleted if status is UserStatus.DELETED else ~is_deleted)
    if email_prefix or name_prefix:
        statement = statement.where(
            _begins_with(User.email_canonical, email_prefix) | _begins_with(User.full_name_key, name_prefix)
        )
    if role is not None:
        holders = select(user_roles.c.user_id).join(Role, Role.id == user_roles.c.role_id)
        statement = statement.where(User.id.in_(holders.where(Role.name == role)))
    if status in {UserStatus.ACTIVE, UserStatus.DISABLED}:
        is_active = User.disabled_at.is_(None)
        statement = statement.where(is_active if status is UserStatus.ACTIVE else ~is_active)
    by_email = sort in {UserSort.EMAIL, UserSort.EMAIL_DESC}
    keyset = Keyset(
        list_id=list_id("users", q=[email_prefix, name_prefix], role=role, status=status, sort=sort),
        columns=[User.email_canonical] if by_email else [User.created_at, User.id],
        descending=sort.startswith("-"),
    )
    return await read_page(db, statement, keyset=keyset, cursor=cursor, limit=limit)


async def save_changes(db: AsyncSession) -> None:
    """Write changes of accounts; raises `EmailTaken` if another one has the new address."""
    try:
        await db.flush()
    except IntegrityError:
        raise errors.EmailTaken from None


async def count_by_status(db: AsyncSession) -> tuple[int, int]:
    """How many accounts there are, and how many of them are disabled; the first reads them all."""
    counted = select(func.count()).select_from(User).where(User.deleted_at.is_(None))
    total = await db.scalar(counted)
    disabled = await db.scalar(counted.where(User.disabled_at.is_not(None)))
    return total or 0, disabled or 0


def _begins_with(column: InstrumentedAttribute[str], prefix: str) -> ColumnElement[bool]:
    # A range and no pattern: every character stands for itself, and the column's index serves it on both
    # databases. U+10FFFF, no character, sorts after all of them.
    return and_(column >= prefix, column < prefix + "\U0010ffff")


async def list_deleted(db: AsyncSession, *, before: datetime, limit: int) -> Sequence[UUID]:
    """Accounts that were deleted before an instant, the oldest first."""
    statement = select(User.id).where(User.deleted_at < before).order_by(User.deleted_at).limit(limit)
    return (await db.scalars(statement)).all()
