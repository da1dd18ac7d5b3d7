"""User administration: accounts made and changed by those who may, each change on record.

Every change first locks the user's row, then all rights (`roles.hold_rights`), and checks the caller's own rights
again after that: of two administrators who demote each other at once, the second finds that they are the last one,
or no administrator any more.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.database import hand_back_connection
from authapi.enums import AuditAction, BuiltInRole, Permission, RevocationReason
from authapi.models import User
from authapi.principal import Principal
from authapi.repositories import one_time_tokens, roles, users
from authapi.runtime import Runtime
from authapi.services import account_deletion, admin_trail, delegation, revocation
from authapi.services.delegation import Delegator
from authapi.services.new_passwords import hash_new_password
from authapi.services.registration import create_user as insert_user
from authapi.services.registration import parse_new_email
from authapi.services.role_assignment import ensure_fits_token, get_roles, spare_last_admin

# A password is the user's own, and roles have a route of their own (ASVS 6.4.6, 8.2.3).
EDITABLE_FIELDS = frozenset({"email", "full_name", "phone", "locale", "discoverable"})


async def create_user(
    db: AsyncSession,
    runtime: Runtime,
    principal: Principal,
    *,
    email: str,
    password: str,
    full_name: str,
    phone: str | None,
    role_names: Sequence[str],
    email_verified: bool,
) -> User:
    """Make an account for somebody else, with a first password.

    Raises `InvalidEmail`, `UnknownRole`, `CannotGrant`, `WeakPassword`, `EmailTaken`, `RolesExceedToken`,
    `HashingBusy`.
    """
    address = parse_new_email(runtime, email)
    delegator = await delegation.load_delegator(db, principal, Permission.USERS_WRITE)
    await delegation.ensure_may_grant(db, delegator, await get_roles(db, role_names))
    if await users.find_by_email(db, email_canonical=address.canonical):
        raise errors.EmailTaken
    await hand_back_connection(db)
    password_hash = await hash_new_password(runtime, password, email=address.display, full_name=full_name)
    # Hashing took a while without a transaction: roles and rights may be others by now.
    await roles.hold_rights(db)
    delegator = await delegation.load_delegator(db, principal, Permission.USERS_WRITE)
    assigned = await get_roles(db, role_names)
    await delegation.ensure_may_grant(db, delegator, assigned)
    user = await insert_user(
        db,
        address=address,
        password_hash=password_hash,
        full_name=full_name,
        phone=phone,
        assigned=assigned,
    )
    await ensure_fits_token(db, user_id=user.id)
    if email_verified:
        user.email_verified_at = clock.utc_now()
        await users.save_changes(db)
    await admin_trail.record(
        db, principal, AuditAction.USER_CREATED, subject_id=user.id, details={"roles": list(user.role_names)}
    )
    return user


async def update_user(
    db: AsyncSession, runtime: Runtime, principal: Principal, *, user_id: UUID, changes: Mapping[str, Any]
) -> User:
    """Set the given fields, which must be `EDITABLE_FIELDS`; another address counts as not verified.

    Raises `UserNotFound`, `CannotManageUser`, `InvalidEmail`, `EmailTaken`, `ValueError` for another field, and
    `CannotManageUser` for the caller's own address: a thief of the session could change it, have a reset link
    mailed there, and so get around password and second factor.
    """
    if not changes.keys() <= EDITABLE_FIELDS:
        raise ValueError(f"not editable: {sorted(changes.keys() - EDITABLE_FIELDS)}")
    values = dict(changes)
    if "email" in changes:
        address = parse_new_email(runtime, changes["email"])
        values |= {"email": address.display, "email_canonical": address.canonical}
    user, _ = await hold_user(db, principal, user_id)
    changed = sorted(name for name in changes if getattr(user, name) != values[name])
    has_other_address = user.email_canonical != values.get("email_canonical", user.email_canonical)
    if has_other_address and user.id == principal.user_id:
        raise errors.CannotManageUser("one's own address")
    if has_other_address:
        user.email_verified_at = None
    for name, value in values.items():
        setattr(user, name, value)
    if changed:
        await users.save_changes(db)
        if has_other_address:
            # Void the links that were mailed to the previous address: its owner may be somebody else.
            await one_time_tokens.void_all(db, user_id=user.id, now=clock.utc_now())
            await revocation.void_access_tokens(db, runtime, user=user)
        await admin_trail.record(
            db, principal, AuditAction.USER_UPDATED, subject_id=user.id, details={"fields": changed}
        )
    return user


async def delete_user(db: AsyncSession, runtime: Runtime, principal: Principal, *, user_id: UUID) -> None:
    """Delete an account, softly: after the grace it is erased with everything that hangs on it.

    Raises `UserNotFound`, `CannotManageUser`, `LastAdmin`.
    """
    user, _ = await hold_user(db, principal, user_id)
    await spare_last_admin(db, user)
    await account_deletion.mark_deleted(db, runtime, user=user, actor_id=principal.user_id)
    await admin_trail.record(db, principal, AuditAction.USER_DELETED, subject_id=user.id)


async def disable_user(db: AsyncSession, runtime: Runtime, principal: Principal, *, user_id: UUID) -> User:
    """Lock a user out and end their sessions; nothing changes for one who is disabled already.

    Raises `UserNotFound`, `CannotManageUser`, `LastAdmin`.
    """
    user, _ = await hold_user(db, principal, user_id)
    if user.is_active:
        await spare_last_admin(db, user)
        user.disabled_at = clock.utc_now()
        await users.save_changes(db)
        await revocation.revoke_user_sessions(
            db,
            runtime,
            user_id=user.id,
            reason=RevocationReason.USER_DISABLED,
            actor_id=principal.user_id,
        )
        await admin_trail.record(db, principal, AuditAction.USER_DISABLED, subject_id=user.id)
    return user


async def enable_user(db: AsyncSession, runtime: Runtime, principal: Principal, *, user_id: UUID) -> User:
    """Let a user log in again who was disabled, or deleted and not erased yet.

    Raises `UserNotFound`, `CannotManageUser`, `EmailTaken`.
    """
    user, _ = await hold_user(db, principal, user_id, even_deleted=True)
    if not user.is_active:
        user.disabled_at = user.deleted_at = None
        # A deleted account gave its address free; somebody else may have it by now.
        user.email_canonical = parse_new_email(runtime, user.email).canonical
        await users.save_changes(db)
        await admin_trail.record(db, principal, AuditAction.USER_ENABLED, subject_id=user.id)
    return user


async def replace_roles(
    db: AsyncSession, runtime: Runtime, principal: Principal, *, user_id: UUID, role_names: Sequence[str]
) -> User:
    """Assign exactly these roles; access tokens that say otherwise end.

    Raises `UserNotFound`, `UnknownRole`, `CannotManageUser`, `CannotGrant`, `LastAdmin`, `RolesExceedToken`.
    """
    user, delegator = await hold_user(db, principal, user_id)
    assigned = await get_roles(db, role_names)
    await delegation.ensure_may_grant(db, delegator, assigned, subject_id=user.id)
    before, after = set(user.role_names), {role.name for role in assigned}
    if before == after:
        return user
    if BuiltInRole.ADMIN not in after:
        await spare_last_admin(db, user)
    await users.replace_roles(db, user, assigned)
    await ensure_fits_token(db, user_id=user.id)
    user.updated_at = clock.utc_now()
    await users.save_changes(db)
    await revocation.void_access_tokens(db, runtime, user=user)
    await admin_trail.record(
        db,
        principal,
        AuditAction.USER_ROLES_CHANGED,
        subject_id=user.id,
        details={"added": sorted(after - before), "removed": sorted(before - after)},
    )
    return user


async def hold_user(
    db: AsyncSession, principal: Principal, user_id: UUID, *, even_deleted: bool = False
) -> tuple[User, Delegator]:
    """The user to change and the caller, neither of whose rights change before the transaction ends.

    Raises `UserNotFound`, `CannotManageUser`, and what asking for the permission raises.
    """
    if await users.find_for_update(db, user_id) is None:
        raise errors.UserNotFound
    await roles.hold_rights(db)
    delegator = await delegation.load_delegator(db, principal, Permission.USERS_WRITE)
    # Read again: until `hold_rights` returned, others could change what the user's roles allow.
    user = await users.find_by_id(db, user_id)
    if user is None or (user.deleted_at is not None and not even_deleted):
        raise errors.UserNotFound
    await delegation.ensure_may_manage(db, delegator, user)
    return user, delegator
