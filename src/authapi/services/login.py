"""Login: an identifier and a password become a session."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.emails import MalformedEmail, parse_email
from authapi.enums import AuditAction, Outcome, RegistrationMode
from authapi.repositories import password_credentials
from authapi.runtime import Runtime
from authapi.services import audit
from authapi.services.outcomes import reports_login
from authapi.services.password_check import check_password
from authapi.services.second_factor_login import challenge
from authapi.services.user_sessions import SessionTokens, open_session
from authapi.token_authority import FIRST_PARTY_CLIENT_ID


@reports_login
async def log_in(
    db: AsyncSession,
    runtime: Runtime,
    *,
    email: str,
    password: str,
    scope: str | None = None,
    device_token: str | None = None,
    client_id: str = FIRST_PARTY_CLIENT_ID,
) -> SessionTokens:
    """Check a password and open a session.

    `scope` narrows what the session's tokens may do (RFC 6749 section 3.3). `device_token` names a device
    that has logged in before, `client_id` the service client that has authenticated. Unknown address,
    malformed address and wrong password take the same time and get the same answer (ASVS 6.3.8). Raises
    `TooManyAttempts`, `InvalidCredentials`, `HashingBusy`, and only after a right password
    `AccountDisabled`, `EmailNotVerified` and, with a second factor, `MfaRequired`.
    """
    address = _canonical(email)
    with runtime.hasher.place():
        # Queried for a malformed address too: one statement less would show in the response time.
        found = await password_credentials.find_by_email_confidential(db, email_canonical=address or "")
        user_id = found.user_id if found else None
        is_hidden = found is not None and not found.email_verified and _hides_unverified(runtime)
        try:
            checked = await check_password(
                db,
                runtime,
                identifier=address or email,
                user_id=user_id,
                stored=found.password_hash if found and not is_hidden else None,
                password=password,
                device_token=device_token,
            )
        except errors.InvalidCredentials as refused:
            reason = "email_not_verified" if is_hidden else str(refused.detail)
            await _record_failure(db, user_id, reason=reason)
            raise
    user = checked.user
    if not user.is_active:
        await _record_failure(db, user.id, reason="disabled")
        raise errors.AccountDisabled
    if not user.email_verified and not runtime.settings.allows_unverified_login:
        await _record_failure(db, user.id, reason="email_not_verified")
        raise errors.EmailNotVerified
    if checked.has_second_factor:
        await challenge(db, runtime, user=user, scope=scope, device=checked.device, client_id=client_id)
    tokens = await open_session(
        db, runtime, user=user, amr=["pwd"], scope=scope, device=checked.device, client_id=client_id
    )
    await audit.record(
        db,
        AuditAction.USER_LOGIN_SUCCEEDED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=tokens.user_session.id,
    )
    return tokens


def _canonical(email: str) -> str | None:
    try:
        # Accounts on special domains may exist from a time when the setting allowed them.
        return parse_email(email, allow_special_domains=True).canonical
    except MalformedEmail:
        return None


def _hides_unverified(runtime: Runtime) -> bool:
    """Whether an unverified account must be answered like an unknown address.

    Otherwise an attacker could register an address with a password of their own and log in with it: a success
    would tell that the address was free, a refusal that it has an account.
    """
    return runtime.settings.registration.mode is RegistrationMode.VERIFY_FIRST


async def _record_failure(db: AsyncSession, user_id: UUID | None, *, reason: str) -> None:
    await audit.record(
        db,
        AuditAction.USER_LOGIN_FAILED,
        outcome=Outcome.FAILURE,
        reason=reason,
        subject_id=user_id,
    )
