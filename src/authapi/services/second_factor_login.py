"""The second step of a login: a code completes what the password began."""

from typing import NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import AuditAction, Factor, OneTimeTokenPurpose
from authapi.models import KnownDevice, User
from authapi.repositories import known_devices, one_time_tokens, users
from authapi.runtime import Runtime
from authapi.security import opaque_tokens
from authapi.services import audit, second_factors
from authapi.services import one_time_tokens as one_time_token_service
from authapi.services.known_devices import recognise
from authapi.services.outcomes import reports_login
from authapi.services.user_sessions import SessionTokens, open_session

PURPOSE = OneTimeTokenPurpose.LOGIN_SECOND_FACTOR
MAX_WRONG_CODES = 5

# RFC 8176; a recovery code is a second factor, but shows no authenticator app.
AMR = {Factor.TOTP: ["pwd", "otp", "mfa"], Factor.RECOVERY_CODE: ["pwd", "mfa"]}


async def challenge(
    db: AsyncSession,
    runtime: Runtime,
    *,
    user: User,
    scope: str | None,
    device: KnownDevice | None,
    client_id: str,
) -> NoReturn:
    """Stop a login after a right password: the user has a second factor.

    Raises `MfaRequired` with a short-lived token that stands for this very login and nothing else. Whatever gives
    tokens for a password calls it where `CheckedPassword.has_second_factor` (ASVS 6.3.4).
    """
    factors = await second_factors.factors_of(db, user_id=user.id)
    mfa_token = await one_time_token_service.issue(
        db,
        runtime,
        purpose=PURPOSE,
        user_id=user.id,
        data={"scope": scope, "device_id": str(device.id) if device else None, "client_id": client_id},
    )
    raise errors.MfaRequired(mfa_token=mfa_token, factors=[factor.value for factor in factors])


@reports_login
async def complete(
    db: AsyncSession, runtime: Runtime, *, mfa_token: str, code: str, device_token: str | None = None
) -> SessionTokens:
    """Open the session of a login whose password was right, with a code of the second factor.

    `device_token` names the device if the first step has not. Raises `InvalidMfaToken` (expired, finished, too
    many wrong codes), `InvalidCode`, `TooManyAttempts`, `AccountDisabled`.
    """
    token_hash = opaque_tokens.digest(mfa_token)
    now = clock.utc_now()
    token = await one_time_tokens.find_valid(db, purpose=PURPOSE, token_hash=token_hash, now=now)
    if token is None or token.user_id is None:
        raise errors.InvalidMfaToken
    # Locked and read: if an administrator has disabled the account by now, this login must fail.
    user = await users.find_for_update(db, token.user_id)
    if user is None:
        raise errors.InvalidMfaToken
    if not user.is_active:
        raise errors.AccountDisabled
    try:
        factor = await second_factors.verify_code(db, runtime, user_id=user.id, code=code)
    except errors.InvalidCode:
        token.attempts += 1
        if token.attempts >= MAX_WRONG_CODES:
            token.consumed_at = now
        await db.flush()
        raise
    if await one_time_tokens.consume(db, purpose=PURPOSE, token_hash=token_hash, now=now) is None:
        raise errors.InvalidMfaToken
    if device_id := token.data["device_id"]:
        device = await known_devices.find_live(db, UUID(device_id), now=now)
    else:
        device = await recognise(db, runtime, user_id=user.id, device_token=device_token)
    tokens = await open_session(
        db,
        runtime,
        user=user,
        amr=AMR[factor],
        scope=token.data["scope"],
        device=device,
        client_id=token.data["client_id"],
    )
    await audit.record(
        db,
        AuditAction.USER_LOGIN_SUCCEEDED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=tokens.user_session.id,
        details={"second_factor": factor.value},
    )
    return tokens
