"""Login: an identifier and a password become a session."""

from uuid import UUID

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
    """The user with this address, if the password is his, locked until the transaction ends.

    Raises `InvalidCredentials`, `HashingBusy`, and puts a failure on record. The account may be disabled:
    that is for the caller to say.
    """
    user = await _find_user(db, email)
    try:
        return await check_password_of(db, runtime, user_id=user.id if user else None, password=password)
    except errors.InvalidCredentials as refused:
        await record_failure(db, user, reason=str(refused.detail))
        raise


async def check_password_of(
    db: AsyncSession, runtime: Runtime, *, user_id: UUID | None, password: str
) -> User:
    """The user with this id, if the password is his, locked until the transaction ends.

    Costs the same for None as for a wrong password. Raises `InvalidCredentials` with the reason as detail,
    `HashingBusy`.
    """
    while True:
        stored = user_id and await password_credentials.find_hash_confidential(db, user_id=user_id)
        await hand_back_connection(db)
        if user_id is None or not stored:
            await runtime.hasher.verify_dummy(password)
            raise errors.InvalidCredentials("no_such_user" if user_id is None else "no_password")
        verification = await runtime.hasher.verify(password, stored)
        if not verification.matches:
            raise errors.InvalidCredentials("wrong_password")
        # Hashing took a while without a transaction. From here on the row lock makes the account stand still;
        # if its password was changed meanwhile, the old one must not open a session: check again.
        user = await users.find_for_update(db, user_id)
        now_stored = await password_credentials.find_hash_confidential(db, user_id=user_id)
        if user is not None and now_stored == stored:
            break
    if verification.replacement is not None:
        await password_credentials.replace(db, user_id=user_id, password_hash=verification.replacement)
        await audit.record(db, AuditAction.USER_PASSWORD_REHASHED, subject_id=user_id)
    return user


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
        subject_id=user.id if user else None,
    )
