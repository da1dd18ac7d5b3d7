"""Account deletion: a user leaves, after proving once more who he is."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import AuditAction, BuiltInRole, RevocationReason
from authapi.principal import Principal
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import audit, revocation
from authapi.services.password_check import check_password_of_caller


async def delete_own_account(
    db: AsyncSession, runtime: Runtime, *, principal: Principal, password: str
) -> None:
    """Delete the caller's account with everything that hangs on it (ASVS 7.4.2, 7.5.3).

    Raises `InvalidAccessToken` for an account that is gone or disabled, `InvalidCredentials`, `LastAdmin`,
    `TooManyAttempts`, `HashingBusy`.
    """
    user = await check_password_of_caller(
        db, runtime, principal=principal, password=password, action=AuditAction.USER_DELETION_REFUSED
    )
    if BuiltInRole.ADMIN in user.role_names and not await users.find_other_active_admin(db, user.id):
        raise errors.LastAdmin
    await revocation.revoke_user_sessions(
        db, runtime, user_id=user.id, reason=RevocationReason.USER_DELETED, actor_id=user.id
    )
    await users.remove(db, user.id)
    await audit.record(
        db,
        AuditAction.USER_DELETED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=principal.user_session_id,
    )
