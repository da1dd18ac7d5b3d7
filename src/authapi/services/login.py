"""Login: an identifier and a password become a session."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.database import hand_back_connection
from authapi.emails import MalformedEmail, parse_email
from authapi.enums import AuditAction, Outcome
from authapi.models import User
from authapi.repositories import password_credentials, users
from authapi.runtime import Runtime
from authapi.services import audit
from authapi.services.user_sessions import SessionTokens, open_session


async def log_in(
    db: AsyncSession, runtime: Runtime, *, email: str, password: str, scope: str | None = None
) -> SessionTokens:
    """Check a password and open a session.

    `scope` narrows what the session's tokens may do (RFC 6749 section 3.3). Unknown address, malformed
    address and wrong password take the same time and get the same answer (ASVS 6.3.8). Raises
    `InvalidCredentials`, `AccountDisabled` (only after a right password), `HashingBusy`.
    """
    user = await check_password(db, runtime, email=email, password=password)
    if not user.is_active:
        await record_failure(db, user, reason="disabled")
        raise errors.AccountDisabled
    tokens = await open_session(db, runtime, user=user, amr=["pwd"], scope=scope)
    await audit.record(
        db,
        AuditAction.USER_LOGIN_SUCCEEDED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=tokens.user_session.id,
    )
    return tokens


async def check_password(db: AsyncSession, runtime: Runtime, *, email: str, password: str) -> User:
    """The user whose password this is, locked until the transaction ends.

    Raises `InvalidCredentials`, `HashingBusy`. The account may be disabled: that is for the caller to say.
    """
    while True:
        user = await _find_user(db, email)
        stored = user and await password_credentials.find_hash_confidential(db, user_id=user.id)
        await hand_back_connection(db)
        if user is None or stored is None:
            await runtime.hasher.verify_dummy(password)
            await record_failure(db, user, reason="no_such_user" if user is None else "no_password")
            raise errors.InvalidCredentials
        verification = await runtime.hasher.verify(password, stored)
        if not verification.matches:
            await record_failure(db, user, reason="wrong_password")
            raise errors.InvalidCredentials
        # Hashing took a while without a transaction. From here on the row lock makes the account stand still;
        # if its password was changed meanwhile, the old one must not open a session: check again.
        current = await users.find_for_update(db, user.id)
        now_stored = await password_credentials.find_hash_confidential(db, user_id=user.id)
        if current is not None and now_stored == stored:
            break
    if verification.replacement is not None:
        await password_credentials.replace(db, user_id=user.id, password_hash=verification.replacement)
        await audit.record(db, AuditAction.USER_PASSWORD_REHASHED, subject_id=user.id)
    return current


async def _find_user(db: AsyncSession, email: str) -> User | None:
    try:
        # Accounts on special domains may exist from a time when the setting allowed them.
        address = parse_email(email, allow_special_domains=True)
    except MalformedEmail:
        return None
    return await users.find_by_email(db, email_canonical=address.canonical)


async def record_failure(db: AsyncSession, user: User | None, *, reason: str) -> None:
    """Put a refused login on record; the caller raises an error that keeps it."""
    await audit.record(
        db,
        AuditAction.USER_LOGIN_FAILED,
        outcome=Outcome.FAILURE,
        reason=reason,
        subject_id=user and user.id,
    )
