"""Password change: a logged-in user who knows the current password replaces it."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.database import hand_back_connection
from authapi.enums import AuditAction, MailKind, OneTimeTokenPurpose, RevocationReason
from authapi.principal import Principal
from authapi.repositories import one_time_tokens, password_credentials, users
from authapi.runtime import Runtime
from authapi.services import audit, notifications, revocation
from authapi.services.new_passwords import hash_new_password
from authapi.services.password_check import check_password_of_caller


async def change_password(
    db: AsyncSession, runtime: Runtime, *, principal: Principal, current_password: str, new_password: str
) -> None:
    """Replace the caller's password, end their other sessions and tell them by mail (ASVS 6.2.3, 7.4.3).

    Raises `InvalidCredentials`, `TooManyAttempts`, `WeakPassword`, `HashingBusy`, `Conflict` if the password
    was changed by somebody else meanwhile.
    """
    user = await check_password_of_caller(
        db,
        runtime,
        principal=principal,
        password=current_password,
        action=AuditAction.USER_PASSWORD_CHANGE_REFUSED,
    )
    if new_password == current_password:
        raise errors.WeakPassword(
            fields=[
                errors.FieldError(("body", "new_password"), "password_unchanged", "Choose a different one.")
            ]
        )
    checked = await password_credentials.find_hash_confidential(db, user_id=user.id)
    await hand_back_connection(db)
    new_hash = await hash_new_password(
        runtime, new_password, email=user.email, full_name=user.full_name, field="new_password"
    )
    # Nothing was locked while hashing: if the password or the account was changed meanwhile, that change wins.
    current = await users.find_for_update(db, user.id)
    stored = await password_credentials.find_hash_confidential(db, user_id=user.id)
    if current is None or not current.is_active or stored != checked:
        raise errors.Conflict("the password was changed meanwhile")
    await password_credentials.replace(db, user_id=user.id, password_hash=new_hash)
    await one_time_tokens.void_all(
        db, user_id=user.id, now=clock.utc_now(), purposes={OneTimeTokenPurpose.RESET_PASSWORD}
    )
    await revocation.revoke_user_sessions(
        db,
        runtime,
        user_id=user.id,
        reason=RevocationReason.PASSWORD_CHANGED,
        sparing=principal.user_session_id,
        actor_id=user.id,
    )
    await audit.record(
        db,
        AuditAction.USER_PASSWORD_CHANGED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=principal.user_session_id,
    )
    await notifications.notify(db, runtime, user=current, kind=MailKind.PASSWORD_CHANGED)
