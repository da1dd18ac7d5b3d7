"""Account deletion: a user leaves, after proving once more who he is."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import AuditAction, BuiltInRole, Outcome, RevocationReason
from authapi.principal import Principal
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import audit, authorization, revocation
from authapi.services.login import check_password_of


async def delete_own_account(
    db: AsyncSession, runtime: Runtime, *, principal: Principal, password: str
) -> None:
    """Delete the caller's account with everything that hangs on it (ASVS 7.4.2, 7.5.3).

    Raises `InvalidAccessToken` for an account that is gone or disabled, `InvalidCredentials`, `LastAdmin`,
    `HashingBusy`.
    """
    await authorization.get_active_user(db, principal)
    try:
        user = await check_password_of(db, runtime, user_id=principal.user_id, password=password)
    except errors.InvalidCredentials as refused:
        await audit.record(
            db,
            AuditAction.USER_DELETION_REFUSED,
            outcome=Outcome.FAILURE,
            reason=str(refused.detail),
            actor_id=principal.user_id,
            subject_id=principal.user_id,
            user_session_id=principal.user_session_id,
        )
        raise
    # Looked at again: hashing took a while without a lock.
    if not user.is_active:
        raise errors.InvalidAccessToken("account_gone_or_disabled")
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
