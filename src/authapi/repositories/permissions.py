"""Permissions: authapi's own, and those that the installation's services ask for."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.models import Permission, role_permissions


async def find_by_id(db: AsyncSession, permission_id: UUID) -> Permission | None:
    """The permission, as the database has it now."""
    statement = select(Permission).where(Permission.id == permission_id)
    return await db.scalar(statement.execution_options(populate_existing=True))


async def find_by_names(db: AsyncSession, names: Sequence[str]) -> list[Permission]:
    """The permissions with these names; unknown names are left out."""
    statement = select(Permission).where(Permission.name.in_(names)).order_by(Permission.name)
    return list(await db.scalars(statement))


async def list_all(db: AsyncSession) -> list[Permission]:
    """Every permission by name."""
    return list(await db.scalars(select(Permission).order_by(Permission.name)))


async def count(db: AsyncSession) -> int:
    """How many permissions there are."""
    return await db.scalar(select(func.count()).select_from(Permission)) or 0


async def add(db: AsyncSession, permission: Permission) -> None:
    """Insert a permission; raises `PermissionExists`."""
    db.add(permission)
    try:
        await db.flush()
    except IntegrityError:
        raise errors.PermissionExists from None


async def is_in_use(db: AsyncSession, permission_id: UUID) -> bool:
    """Whether a role holds the permission."""
    statement = select(role_permissions.c.role_id).where(role_permissions.c.permission_id == permission_id)
    return await db.scalar(statement.limit(1)) is not None


async def remove(db: AsyncSession, permission_id: UUID) -> None:
    """Delete a permission."""
    await db.execute(delete(Permission).where(Permission.id == permission_id))
