"""Role administration: sets of permissions that installations make for themselves."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import AuditAction
from authapi.enums import Permission as BuiltInPermission
from authapi.models import Permission, Role
from authapi.principal import Principal
from authapi.repositories import permissions, roles
from authapi.runtime import Runtime
from authapi.services import admin_trail, delegation, revocation
from authapi.services.delegation import Delegator
from authapi.services.role_assignment import MAX_CLAIM_BYTES

# The list is not paged.
MAX_ROLES = 200
# The name stays: tokens and other services know the role by it.
EDITABLE_FIELDS = frozenset({"description", "rank", "permissions", "requires_second_factor"})
# What can take something away from whoever has the role.
RIGHTS_FIELDS = frozenset({"permissions", "requires_second_factor"})
# Of a built-in role an installation may only choose how its holders have to log in.
EDITABLE_OF_BUILT_IN = frozenset({"requires_second_factor"})


async def list_roles(db: AsyncSession, principal: Principal) -> list[Role]:
    """Every role, the strongest first."""
    found = await roles.list_all(db)
    await admin_trail.record(db, principal, AuditAction.ROLES_LISTED)
    return found


async def get_role(db: AsyncSession, principal: Principal, *, role_id: UUID) -> Role:
    """One role; raises `RoleNotFound`."""
    role = await roles.find_by_id(db, role_id)
    if role is None:
        raise errors.RoleNotFound
    await admin_trail.record(db, principal, AuditAction.ROLE_READ, details={"role": role.name})
    return role


async def create_role(
    db: AsyncSession,
    principal: Principal,
    *,
    name: str,
    description: str,
    rank: int,
    permission_names: Sequence[str],
    requires_second_factor: bool = False,
) -> Role:
    """Make a role with some of the caller's permissions.

    Raises `UnknownPermission`, `CannotGrant`, `CatalogueFull`, `RoleExists`, `RolesExceedToken`.
    """
    delegator = await _hold(db, principal)
    granted = await _get_permissions(db, permission_names)
    await delegation.ensure_may_grant_permissions(db, delegator, permission_names)
    if await roles.count(db) >= MAX_ROLES:
        raise errors.CatalogueFull
    role = Role(
        name=name,
        description=description,
        rank=rank,
        permissions=granted,
        requires_second_factor=requires_second_factor,
    )
    _ensure_fits_token_alone(role)
    await roles.add(db, role)
    await admin_trail.record(
        db,
        principal,
        AuditAction.ROLE_CREATED,
        details={"role": name, "permissions": _names(role.permissions)},
    )
    return role


async def update_role(
    db: AsyncSession, runtime: Runtime, principal: Principal, *, role_id: UUID, changes: Mapping[str, Any]
) -> Role:
    """Set the given fields, which must be `EDITABLE_FIELDS`; `permissions` holds names.

    Access tokens of its holders end if that takes rights away: services that verify offline go by them.
    Raises `RoleNotFound`, `RoleIsBuiltIn`, `UnknownPermission`, `CannotGrant`, `RolesExceedToken`,
    `ValueError` for another field.
    """
    if not changes.keys() <= EDITABLE_FIELDS:
        raise ValueError(f"not editable: {sorted(changes.keys() - EDITABLE_FIELDS)}")
    if changes.keys() & RIGHTS_FIELDS:
        await revocation.hold_holders(db, role_id=role_id)
    role, delegator = await _hold_role(
        db, principal, role_id, even_built_in=changes.keys() <= EDITABLE_OF_BUILT_IN
    )
    before, was_strict = _names(role.permissions), role.requires_second_factor
    new_values = dict(changes)
    if "permissions" in changes:
        granted = await _get_permissions(db, changes["permissions"])
        await delegation.ensure_may_grant_permissions(db, delegator, _names(granted))
        new_values["permissions"] = granted
    changed = sorted(name for name, value in new_values.items() if getattr(role, name) != value)
    for name in changed:
        setattr(role, name, new_values[name])
    if not changed:
        return role
    role.updated_at = clock.utc_now()
    await db.flush()
    if "permissions" in changed:
        _ensure_fits_token_alone(role)
        if await roles.claim_size_of_holders(db, role.id) > MAX_CLAIM_BYTES:
            raise errors.RolesExceedToken
    after = _names(role.permissions)
    if set(before) - set(after) or (role.requires_second_factor and not was_strict):
        await revocation.void_access_tokens_of_holders(db, runtime, role_id=role.id)
    await admin_trail.record(
        db,
        principal,
        AuditAction.ROLE_UPDATED,
        details={
            "role": role.name,
            "fields": changed,
            "added": sorted(set(after) - set(before)),
            "removed": sorted(set(before) - set(after)),
        },
    )
    return role


async def delete_role(db: AsyncSession, principal: Principal, *, role_id: UUID) -> None:
    """Delete a role that nobody has.

    Raises `RoleNotFound`, `RoleIsBuiltIn`, `CannotGrant`, `RoleInUse`.
    """
    role, _ = await _hold_role(db, principal, role_id)
    await roles.remove(db, role.id)
    await admin_trail.record(db, principal, AuditAction.ROLE_DELETED, details={"role": role.name})


async def _hold(db: AsyncSession, principal: Principal) -> Delegator:
    """The caller, with all rights held until the transaction ends."""
    await roles.hold_rights(db)
    return await delegation.load_delegator(db, principal, BuiltInPermission.ROLES_WRITE)


async def _hold_role(
    db: AsyncSession, principal: Principal, role_id: UUID, *, even_built_in: bool = False
) -> tuple[Role, Delegator]:
    """The role to change and the caller; taking permissions away needs them as much as giving them."""
    delegator = await _hold(db, principal)
    role = await roles.find_by_id(db, role_id)
    if role is None:
        raise errors.RoleNotFound
    if role.is_built_in and not even_built_in:
        raise errors.RoleIsBuiltIn
    await delegation.ensure_may_grant(db, delegator, [role])
    return role, delegator


async def _get_permissions(db: AsyncSession, names: Sequence[str]) -> list[Permission]:
    found = await permissions.find_by_names(db, names)
    known = set(_names(found))
    unknown = [
        errors.FieldError(
            ("body", "permissions", index), "unknown_permission", "There is no such permission."
        )
        for index, name in enumerate(names)
        if name not in known
    ]
    if unknown:
        raise errors.UnknownPermission(fields=unknown)
    return found


def _ensure_fits_token_alone(role: Role) -> None:
    size = len(role.name) + 3 + sum(len(permission.name) + 1 for permission in role.permissions)
    if size > MAX_CLAIM_BYTES:
        raise errors.RolesExceedToken


def _names(held: Sequence[Permission]) -> list[str]:
    return [permission.name for permission in held]
