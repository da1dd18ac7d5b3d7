"""What administrators do for a user in trouble: end sessions, lift a throttle, start a reset, remove a factor."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import AuditAction, MailKind, RevocationReason
from authapi.models import User
from authapi.principal import Principal
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import (
    admin_trail,
    login_throttle,
    notifications,
    password_reset,
    revocation,
    second_factors,
)
from authapi.services.user_administration import hold_user


async def log_out_user(db: AsyncSession, runtime: Runtime, principal: Principal, *, user_id: UUID) -> int:
    """End all sessions of a user; returns how many there were (ASVS 7.4.5).

    Raises `UserNotFound`, `CannotManageUser`.
    """
    user, _ = await hold_user(db, principal, user_id)
    ended = await revocation.revoke_user_sessions(
        db,
        runtime,
        user_id=user.id,
        reason=RevocationReason.ENDED_BY_ADMIN,
        actor_id=principal.user_id,
    )
    await admin_trail.record(db, principal, AuditAction.USER_LOGGED_OUT_BY_ADMIN, subject_id=user.id)
    return len(ended)


async def unlock_user(db: AsyncSession, runtime: Runtime, principal: Principal, *, user_id: UUID) -> User:
    """Forget the wrong passwords and codes that throttle a user; raises `UserNotFound`, `CannotManageUser`."""
    user, _ = await hold_user(db, principal, user_id)
    await login_throttle.unlock(db, runtime, user=user)
    await admin_trail.record(db, principal, AuditAction.USER_UNLOCKED, subject_id=user.id)
    return user


async def force_password_reset(
    db: AsyncSession, runtime: Runtime, principal: Principal, *, user_id: UUID
) -> None:
    """End a user's sessions and mail them a link to choose another password (ASVS 6.4.6).

    The administrator never learns or sets a password. Raises `UserNotFound`, `CannotManageUser`.
    """
    user, _ = await hold_user(db, principal, user_id)
    await revocation.revoke_user_sessions(
        db,
        runtime,
        user_id=user.id,
        reason=RevocationReason.RESET_FORCED,
        actor_id=principal.user_id,
    )
    await password_reset.send_link(db, runtime, user=user)
    await admin_trail.record(db, principal, AuditAction.USER_RESET_FORCED, subject_id=user.id)


async def mark_email_verified(db: AsyncSession, principal: Principal, *, user_id: UUID) -> User:
    """Vouch for a user's address; raises `UserNotFound`, `CannotManageUser`."""
    user, _ = await hold_user(db, principal, user_id)
    if user.email_verified_at is None:
        user.email_verified_at = clock.utc_now()
        await users.save_changes(db)
    await admin_trail.record(db, principal, AuditAction.USER_EMAIL_MARKED_VERIFIED, subject_id=user.id)
    return user


async def reset_second_factor(
    db: AsyncSession, runtime: Runtime, principal: Principal, *, user_id: UUID
) -> None:
    """Take a lost second factor away and end the user's sessions; they are told by mail (ASVS 6.4.4).

    Raises `UserNotFound`, `CannotManageUser`, `FactorNotFound`, and `CannotManageUser` for the caller's own:
    removing it here would not ask for the code.
    """
    user, _ = await hold_user(db, principal, user_id)
    if user.id == principal.user_id:
        raise errors.CannotManageUser("one's own second factor")
    await second_factors.remove(db, user_id=user.id)
    await login_throttle.forget_codes(db, runtime, user_id=user.id)
    await revocation.revoke_user_sessions(
        db,
        runtime,
        user_id=user.id,
        reason=RevocationReason.ENDED_BY_ADMIN,
        actor_id=principal.user_id,
    )
    await admin_trail.record(db, principal, AuditAction.SECOND_FACTOR_RESET, subject_id=user.id)
    await notifications.notify(db, runtime, user=user, kind=MailKind.FACTOR_REMOVED)
