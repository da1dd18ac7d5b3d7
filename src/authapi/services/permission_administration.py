"""Permission administration: permissions that the installation's own services ask for."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import AuditAction
from authapi.models import Permission
from authapi.principal import Principal
from authapi.repositories import permissions, roles
from authapi.services import admin_trail

# The list is not paged.
MAX_PERMISSIONS = 200


async def list_permissions(db: AsyncSession, principal: Principal) -> list[Permission]:
    """Every permission by name."""
    found = await permissions.list_all(db)
    await admin_trail.record(db, principal, AuditAction.PERMISSIONS_LISTED)
    return found


async def get_permission(db: AsyncSession, principal: Principal, *, permission_id: UUID) -> Permission:
    """One permission; raises `PermissionNotFound`."""
    permission = await permissions.find_by_id(db, permission_id)
    if permission is None:
        raise errors.PermissionNotFound
    await admin_trail.record(
        db, principal, AuditAction.PERMISSION_READ, details={"permission": permission.name}
    )
    return permission


async def create_permission(
    db: AsyncSession, principal: Principal, *, name: str, description: str
) -> Permission:
    """Make a permission; authapi itself never asks for it. Raises `PermissionExists`, `CatalogueFull`."""
    await roles.hold_rights(db)
    if await permissions.count(db) >= MAX_PERMISSIONS:
        raise errors.CatalogueFull
    permission = Permission(name=name, description=description)
    await permissions.add(db, permission)
    await admin_trail.record(db, principal, AuditAction.PERMISSION_CREATED, details={"permission": name})
    return permission


async def update_permission(
    db: AsyncSession, principal: Principal, *, permission_id: UUID, description: str
) -> Permission:
    """Describe a permission anew; its name stays, because tokens and services know it by that.

    Raises `PermissionNotFound`, `PermissionIsBuiltIn`.
    """
    permission = await _hold_permission(db, permission_id)
    if permission.description != description:
        permission.description = description
        await db.flush()
        await admin_trail.record(
            db,
            principal,
            AuditAction.PERMISSION_UPDATED,
            details={"permission": permission.name, "fields": ["description"]},
        )
    return permission


async def delete_permission(db: AsyncSession, principal: Principal, *, permission_id: UUID) -> None:
    """Delete a permission that no role holds.

    Raises `PermissionNotFound`, `PermissionIsBuiltIn`, `PermissionInUse`.
    """
    permission = await _hold_permission(db, permission_id)
    if await permissions.is_in_use(db, permission.id):
        raise errors.PermissionInUse
    await permissions.remove(db, permission.id)
    await admin_trail.record(
        db, principal, AuditAction.PERMISSION_DELETED, details={"permission": permission.name}
    )


async def _hold_permission(db: AsyncSession, permission_id: UUID) -> Permission:
    # Roles wait: one that took the permission in this moment would lose it with the row.
    await roles.hold_rights(db)
    permission = await permissions.find_by_id(db, permission_id)
    if permission is None:
        raise errors.PermissionNotFound
    if permission.is_built_in:
        raise errors.PermissionIsBuiltIn
    return permission
