"""What users do with their second factor: add it, remove it, renew its recovery codes."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import AuditAction, MailKind
from authapi.models import User
from authapi.principal import Principal
from authapi.repositories import user_sessions, users
from authapi.runtime import Runtime
from authapi.services import audit, authorization, notifications, revocation, second_factors
from authapi.services.password_check import check_password_of_caller
from authapi.services.second_factors import Enrollment


async def enroll(db: AsyncSession, runtime: Runtime, *, principal: Principal, password: str) -> Enrollment:
    """Begin to enroll an authenticator app; raises `FactorExists` and what checking the password raises."""
    user = await _owner(db, runtime, principal=principal, password=password)
    return await second_factors.begin_enrollment(db, runtime, user=user)


async def confirm(db: AsyncSession, runtime: Runtime, *, principal: Principal, code: str) -> list[str]:
    """Finish enrolling; returns the recovery codes.

    Raises `FactorNotFound`, `InvalidCode`, `TooManyAttempts`.
    """
    # Lock the user first: a login checks for a second factor under this lock, and every check of a code takes it
    # before the code's counter, or two transactions could deadlock.
    await users.lock(db, principal.user_id)
    user = await authorization.get_active_user(db, principal)
    codes = await second_factors.confirm_enrollment(db, runtime, user=user, code=code)
    await _announce(db, runtime, user, principal, AuditAction.SECOND_FACTOR_ADDED, MailKind.FACTOR_ADDED)
    return codes


async def remove(
    db: AsyncSession, runtime: Runtime, *, principal: Principal, password: str, code: str
) -> None:
    """Remove the authenticator app, after password and code; raises `FactorNotFound`, `InvalidCode`.

    Sessions that were opened with it go on as if they were not: roles that require it are out of force.
    """
    user = await _owner(db, runtime, principal=principal, password=password)
    if not await second_factors.factors_of(db, user_id=user.id):
        raise errors.FactorNotFound
    await second_factors.verify_code(db, runtime, user_id=user.id, code=code)
    await second_factors.remove(db, user_id=user.id)
    await user_sessions.forget_second_factor(db, user_id=user.id, at=clock.utc_now())
    if any(role.requires_second_factor for role in user.roles):
        await revocation.void_access_tokens(db, runtime, user=user)
    await _announce(db, runtime, user, principal, AuditAction.SECOND_FACTOR_REMOVED, MailKind.FACTOR_REMOVED)


async def renew_recovery_codes(
    db: AsyncSession, runtime: Runtime, *, principal: Principal, password: str
) -> list[str]:
    """Ten new recovery codes in place of the old ones; raises `FactorNotFound` without a second factor."""
    user = await _owner(db, runtime, principal=principal, password=password)
    codes = await second_factors.renew_recovery_codes(db, runtime, user_id=user.id)
    await _announce(
        db, runtime, user, principal, AuditAction.RECOVERY_CODES_RENEWED, MailKind.RECOVERY_CODES_RENEWED
    )
    return codes


async def _owner(db: AsyncSession, runtime: Runtime, *, principal: Principal, password: str) -> User:
    return await check_password_of_caller(
        db,
        runtime,
        principal=principal,
        password=password,
        action=AuditAction.USER_REAUTHENTICATION_FAILED,
    )


async def _announce(
    db: AsyncSession,
    runtime: Runtime,
    user: User,
    principal: Principal,
    action: AuditAction,
    mail: MailKind,
) -> None:
    await audit.record(
        db,
        action,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=principal.user_session_id,
    )
    await notifications.notify(db, runtime, user=user, kind=mail)
