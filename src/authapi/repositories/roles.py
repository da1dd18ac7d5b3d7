"""Roles and their permissions."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, union_all
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import BuiltInRole
from authapi.models import Permission, Role, role_permissions, user_roles
from authapi.repositories.planning import Count
from authapi.repositories.planning import count as count_rows


async def find_by_names(db: AsyncSession, names: Sequence[str]) -> list[Role]:
    """The roles with these names; unknown names are left out."""
    return list(await db.scalars(select(Role).where(Role.name.in_(names)).order_by(Role.name)))


async def hold_rights(db: AsyncSession) -> None:
    """Hold up other changes of roles, permissions or their holders until the transaction ends.

    Locking the row of the role `admin` stands for locking all of them. Lock a user's row before, never after, or
    two such transactions deadlock.
    """
    admin_role = select(Role.id).where(Role.name == BuiltInRole.ADMIN)
    await db.execute(admin_role.with_for_update(key_share=True))


async def find_by_id(db: AsyncSession, role_id: UUID) -> Role | None:
    """The role, as the database has it now."""
    return await db.scalar(select(Role).where(Role.id == role_id).execution_options(populate_existing=True))


async def list_all(db: AsyncSession) -> list[Role]:
    """Every role, the strongest first."""
    return list(await db.scalars(select(Role).order_by(Role.rank.desc(), Role.name)))


async def count(db: AsyncSession) -> int:
    """How many roles there are."""
    return await db.scalar(select(func.count()).select_from(Role)) or 0


async def add(db: AsyncSession, role: Role) -> None:
    """Insert a role with its permissions; raises `RoleExists`."""
    db.add(role)
    try:
        await db.flush()
    except IntegrityError:
        raise errors.RoleExists from None


async def remove(db: AsyncSession, role_id: UUID) -> None:
    """Delete a role that nobody has; raises `RoleInUse`."""
    try:
        await db.execute(delete(Role).where(Role.id == role_id))
    except IntegrityError:
        raise errors.RoleInUse from None


async def claim_size_of_user(db: AsyncSession, user_id: UUID) -> int:
    """How many bytes a user's permissions and roles take in the claims `scope` and `roles`."""
    return await _largest_claim_size(db, user_roles.c.user_id == user_id)


async def claim_size_of_holders(db: AsyncSession, role_id: UUID) -> int:
    """The same, the most that any holder of a role needs; reads the assignments of all of them."""
    holders = select(user_roles.c.user_id).where(user_roles.c.role_id == role_id)
    return await _largest_claim_size(db, user_roles.c.user_id.in_(holders))


async def count_holders(db: AsyncSession) -> dict[str, Count]:
    """How many users have each role, the strongest first; many are estimated."""
    roles = (await db.execute(select(Role.name, Role.id).order_by(Role.rank.desc(), Role.name))).all()
    holders = select(user_roles.c.user_id)
    return {name: await count_rows(db, holders.where(user_roles.c.role_id == id)) for name, id in roles}


async def _largest_claim_size(db: AsyncSession, concerned: ColumnElement[bool]) -> int:
    pairs = select(user_roles.c.user_id, user_roles.c.role_id).where(concerned).cte("pairs")
    permitted = (
        select(pairs.c.user_id, Permission.name)
        .join(role_permissions, role_permissions.c.role_id == pairs.c.role_id)
        .join(Permission, Permission.id == role_permissions.c.permission_id)
        .distinct()
        .subquery()
    )
    sizes = union_all(
        # A space after each scope; quotes and a comma around each role.
        select(permitted.c.user_id, (func.length(permitted.c.name) + 1).label("size")),
        select(pairs.c.user_id, func.length(Role.name) + 3).join(Role, Role.id == pairs.c.role_id),
    ).subquery()
    totals = select(func.sum(sizes.c.size).label("total")).group_by(sizes.c.user_id).subquery()
    return int(await db.scalar(select(func.max(totals.c.total))) or 0)
