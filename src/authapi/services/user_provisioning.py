"""User provisioning: accounts made and changed by whoever runs the installation, from the command line.

The operator has no account, so the audit events name no actor.
"""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.database import hand_back_connection
from authapi.emails import MalformedEmail, parse_email
from authapi.enums import AuditAction, BuiltInRole, RevocationReason
from authapi.models import Role, User
from authapi.repositories import roles, users
from authapi.runtime import Runtime
from authapi.services import audit, revocation
from authapi.services.new_passwords import hash_new_password
from authapi.services.registration import create_user, parse_new_email

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

    Raises `InvalidEmail`, `WeakPassword`, `EmailTaken`, `UnknownRole`, `HashingBusy`.
    """
    address = parse_new_email(runtime, email)
    if await users.find_by_email(db, email_canonical=address.canonical):
        raise errors.EmailTaken
    assigned = await _get_roles(db, role_names)
    await hand_back_connection(db)
    password_hash = await hash_new_password(runtime, password, email=address.display, full_name=full_name)
    user = await create_user(
        db, address=address, password_hash=password_hash, full_name=full_name, phone=None, assigned=assigned
    )
    user.email_verified_at = clock.utc_now()
    await db.flush()
    await audit.record(
        db, AuditAction.USER_CREATED, subject_id=user.id, details={"roles": list(user.role_names), **_ORIGIN}
    )
    return user


async def replace_roles(db: AsyncSession, runtime: Runtime, *, email: str, role_names: Sequence[str]) -> User:
    """Assign exactly these roles and void the tokens that carry the old ones.

    Raises `UserNotFound`, `UnknownRole`, `LastAdmin`.
    """
    user = await _get_for_update(db, email)
    assigned = await _get_roles(db, role_names)
    before = user.role_names
    if set(before) == {role.name for role in assigned}:
        return user
    if BuiltInRole.ADMIN not in role_names:
        await _spare_last_admin(db, user)
    await users.replace_roles(db, user, assigned)
    await revocation.void_access_tokens(db, runtime, user=user)
    await audit.record(
        db,
        AuditAction.USER_ROLES_CHANGED,
        subject_id=user.id,
        details={"before": list(before), "after": list(user.role_names), **_ORIGIN},
    )
    return user


async def disable_user(db: AsyncSession, runtime: Runtime, *, email: str) -> User:
    """Lock a user out and end every session (ASVS 7.4.2); raises `UserNotFound`, `LastAdmin`."""
    user = await _get_for_update(db, email)
    if not user.is_active:
        return user
    await _spare_last_admin(db, user)
    user.disabled_at = clock.utc_now()
    await db.flush()
    await revocation.revoke_user_sessions(db, runtime, user_id=user.id, reason=RevocationReason.USER_DISABLED)
    await audit.record(db, AuditAction.USER_DISABLED, subject_id=user.id, details=_ORIGIN)
    return user


async def enable_user(db: AsyncSession, *, email: str) -> User:
    """Let a disabled user log in again; raises `UserNotFound`."""
    user = await _get_for_update(db, email)
    if user.is_active:
        return user
    user.disabled_at = None
    await db.flush()
    await audit.record(db, AuditAction.USER_ENABLED, subject_id=user.id, details=_ORIGIN)
    return user


async def _get_for_update(db: AsyncSession, email: str) -> User:
    try:
        address = parse_email(email, allow_special_domains=True)
    except MalformedEmail:
        raise errors.UserNotFound from None
    user = await users.find_by_email(db, email_canonical=address.canonical)
    locked = user and await users.find_for_update(db, user.id)
    if locked is None:
        raise errors.UserNotFound
    return locked


async def _get_roles(db: AsyncSession, names: Sequence[str]) -> list[Role]:
    found = await roles.find_by_names(db, names)
    unknown = sorted(set(names) - {role.name for role in found})
    if unknown:
        raise errors.UnknownRole(
            fields=[errors.FieldError(("roles",), "unknown_role", f"There is no role {', '.join(unknown)}.")]
        )
    return found


async def _spare_last_admin(db: AsyncSession, user: User) -> None:
    is_admin = user.is_active and BuiltInRole.ADMIN in user.role_names
    if is_admin and not await users.find_other_active_admin(db, user.id):
        raise errors.LastAdmin
