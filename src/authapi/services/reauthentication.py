"""Re-authentication: a logged-in user gives password and factor again, for what needs a recent login."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import AuditAction
from authapi.principal import Principal
from authapi.repositories import user_sessions
from authapi.runtime import Runtime
from authapi.services import audit, second_factors
from authapi.services.password_check import check_password_of_caller
from authapi.services.second_factor_login import AMR
from authapi.services.user_sessions import SessionTokens, issue_tokens


async def reauthenticate(
    db: AsyncSession, runtime: Runtime, *, principal: Principal, password: str, code: str | None = None
) -> SessionTokens:
    """Check the password, and the second factor if there is one, and give the session a fresh `auth_time`.

    The step-up of RFC 9470. Raises `SecondFactorRequired` where a code is missing, `InvalidCode`,
    `InvalidCredentials`, `InvalidAccessToken`, `TooManyAttempts`, `HashingBusy`.
    """
    user = await check_password_of_caller(
        db,
        runtime,
        principal=principal,
        password=password,
        action=AuditAction.USER_REAUTHENTICATION_FAILED,
    )
    amr = None
    if await second_factors.factors_of(db, user_id=user.id):
        if code is None:
            raise errors.SecondFactorRequired
        amr = AMR[await second_factors.verify_code(db, runtime, user_id=user.id, code=code)]
    now = clock.utc_now()
    user_session = await user_sessions.find_live(db, principal.user_session_id, user_id=user.id, now=now)
    if user_session is None:
        raise errors.InvalidAccessToken("session_ended")
    user_session.auth_time = now
    if amr is not None:
        user_session.amr = list(amr)
    user_session.last_used_at = max(now, user_session.last_used_at)
    await db.flush()
    await audit.record(
        db,
        AuditAction.USER_REAUTHENTICATED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=user_session.id,
    )
    return issue_tokens(runtime, user=user, user_session=user_session)
