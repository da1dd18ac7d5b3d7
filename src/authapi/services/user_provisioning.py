"""User provisioning: accounts made and changed by whoever runs the installation, from the command line.

The operator has no account, so the audit events name no actor.
"""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.database import hand_back_connection
from authapi.emails import MalformedEmail, parse_email
from authapi.enums import AuditAction, BuiltInRole, RevocationReason
from authapi.models import User
from authapi.repositories import roles, users
from authapi.runtime import Runtime
from authapi.services import audit, revocation
from authapi.services.new_passwords import hash_new_password
from authapi.services.registration import create_user, parse_new_email
from authapi.services.role_assignment import ensure_fits_token, get_roles, spare_last_admin

_ORIGIN = {"origin": "command_line"}


async def provision_user(
    db: AsyncSession,
    runtime: Runtime,
    *,
    email: str,
    password: str,
    full_name: str,
    role_names: Sequence[str],
) -> User:
    """Create an account whose address counts as verified.

    Raises `InvalidEmail`, `WeakPassword`, `EmailTaken`, `UnknownRole`, `RolesExceedToken`, `HashingBusy`.
    """
    address = parse_new_email(runtime, email)
    if await users.find_by_email(db, email_canonical=address.canonical):
        raise errors.EmailTaken
    await get_roles(db, role_names)
    await hand_back_connection(db)
    password_hash = await hash_new_password(runtime, password, email=address.display, full_name=full_name)
    # Hashing took a while without a transaction: the roles may be others by now.
    await roles.hold_rights(db)
    assigned = await get_roles(db, role_names)
    user = await create_user(
        db, address=address, password_hash=password_hash, full_name=full_name, phone=None, assigned=assigned
    )
    await ensure_fits_token(db, user_id=user.id)
    user.email_verified_at = clock.utc_now()
    await users.save_changes(db)
    await audit.record(
        db, AuditAction.USER_CREATED, subject_id=user.id, details={"roles": list(user.role_names), **_ORIGIN}
    )
    return user


async def replace_roles(db: AsyncSession, runtime: Runtime, *, email: str, role_names: Sequence[str]) -> User:
    """Assign exactly these roles and void the tokens that carry the old ones.

    Raises `UserNotFound`, `UnknownRole`, `RolesExceedToken`, `LastAdmin`.
    """
    user = await _hold(db, email)
    assigned = await get_roles(db, role_names)
    before, after = set(user.role_names), {role.name for role in assigned}
    if before == after:
        return user
    if BuiltInRole.ADMIN not in after:
        await spare_last_admin(db, user)
    await users.replace_roles(db, user, assigned)
    await ensure_fits_token(db, user_id=user.id)
    await revocation.void_access_tokens(db, runtime, user=user)
    await audit.record(
        db,
        AuditAction.USER_ROLES_CHANGED,
        subject_id=user.id,
        details={"added": sorted(after - before), "removed": sorted(before - after), **_ORIGIN},
    )
    return user


async def disable_user(db: AsyncSession, runtime: Runtime, *, email: str) -> User:
    """Lock a user out and end every session (ASVS 7.4.2); raises `UserNotFound`, `LastAdmin`."""
    user = await _hold(db, email)
    if not user.is_active:
        return user
    await spare_last_admin(db, user)
    user.disabled_at = clock.utc_now()
    await users.save_changes(db)
    await revocation.revoke_user_sessions(db, runtime, user_id=user.id, reason=RevocationReason.USER_DISABLED)
    await audit.record(db, AuditAction.USER_DISABLED, subject_id=user.id, details=_ORIGIN)
    return user


async def enable_user(db: AsyncSession, *, email: str) -> User:
    """Let a disabled user log in again; raises `UserNotFound`."""
    user = await _hold(db, email)
    if user.is_active:
        return user
    user.disabled_at = None
    await users.save_changes(db)
    await audit.record(db, AuditAction.USER_ENABLED, subject_id=user.id, details=_ORIGIN)
    return user


async def _hold(db: AsyncSession, email: str) -> User:
    """The user to change, with the row and all rights locked until the transaction ends."""
    try:
        address = parse_email(email, allow_special_domains=True)
    except MalformedEmail:
        raise errors.UserNotFound from None
    found = await users.find_by_email(db, email_canonical=address.canonical)
    if found is None or await users.find_for_update(db, found.id) is None:
        raise errors.UserNotFound
    await roles.hold_rights(db)
    # Read again: until the rights were held, others could change what the user's roles are.
    user = await users.find_by_id(db, found.id)
    if user is None:
        raise errors.UserNotFound
    return user
