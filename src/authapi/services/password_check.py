"""Checks a password: throttled, off the event loop, without a database connection, and race-proof."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.database import hand_back_connection
from authapi.enums import AuditAction, MailKind, Outcome
from authapi.models import KnownDevice, User
from authapi.principal import Principal
from authapi.repositories import password_credentials, users
from authapi.repositories.password_credentials import UserWithPassword
from authapi.runtime import Runtime
from authapi.services import audit, login_throttle, notifications


@dataclass(frozen=True, slots=True)
class CheckedPassword:
    """A user whose password was right, with their row locked; `device` is the known one they came from, if any."""

    user: User
    has_second_factor: bool
    device: KnownDevice | None


async def check_password(
    db: AsyncSession,
    runtime: Runtime,
    *,
    identifier: str,
    user_id: UUID | None,
    stored: str | None,
    password: str,
    device_token: str | None = None,
    user_session_id: UUID | None = None,
) -> CheckedPassword:
    """Find out whether the password is the user's, and lock the user's row until the transaction ends.

    `identifier` is the canonical address, or what was typed instead of one; `stored` is the hash that was just
    read. Costs the same for `user_id` None as for a wrong password. The account may be disabled: that is for the
    caller to say. Raises `TooManyAttempts`, `InvalidCredentials` with the reason as detail, `HashingBusy`.
    """
    attempt = await login_throttle.begin(
        db,
        runtime,
        identifier=identifier,
        user_id=user_id,
        device_token=device_token,
        user_session_id=user_session_id,
    )
    if attempt.has_just_blocked:
        await _tell_owner(db, runtime, user_id)
    try:
        checked = await _verify(db, runtime, user_id=user_id, stored=stored, password=password)
    except errors.HashingBusy:
        await login_throttle.not_tried(db, attempt)
        raise
    await login_throttle.succeeded(db, attempt)
    return CheckedPassword(checked.user, checked.has_second_factor, attempt.device)


async def check_password_of_caller(
    db: AsyncSession, runtime: Runtime, *, principal: Principal, password: str, action: AuditAction
) -> User:
    """The caller of a request, if they are active and the password is theirs; their row is locked as above.

    A refusal is on record as `action`. Tries are counted per session, so an attacker who floods the login cannot
    throttle the owner here. Raises `InvalidCredentials`, `InvalidAccessToken`, `TooManyAttempts`,
    `HashingBusy`.
    """
    found = await password_credentials.find_with_user_confidential(db, user_id=principal.user_id)
    if found is None or not found.user.is_active:
        raise errors.InvalidAccessToken("account_gone_or_disabled")
    user = found.user
    try:
        checked = await check_password(
            db,
            runtime,
            identifier=user.email_canonical,
            user_id=user.id,
            stored=found.password_hash,
            password=password,
            user_session_id=principal.user_session_id,
        )
    except errors.InvalidCredentials as refused:
        await audit.record(
            db,
            action,
            outcome=Outcome.FAILURE,
            reason=str(refused.detail),
            actor_id=principal.user_id,
            subject_id=principal.user_id,
            user_session_id=principal.user_session_id,
        )
        raise
    # Check again: the account may have been disabled while the password was hashed without a lock.
    if not checked.user.is_active:
        raise errors.InvalidAccessToken("account_gone_or_disabled")
    return checked.user


async def _verify(
    db: AsyncSession, runtime: Runtime, *, user_id: UUID | None, stored: str | None, password: str
) -> UserWithPassword:
    while True:
        await hand_back_connection(db)
        if user_id is None or not stored:
            await runtime.hasher.verify_dummy(password)
            raise errors.InvalidCredentials("no_such_user" if user_id is None else "no_password")
        verification = await runtime.hasher.verify(password, stored)
        if not verification.matches:
            raise errors.InvalidCredentials("wrong_password")
        # Lock the account: no other transaction changes it from here on. If its password was changed while the old
        # one was hashed without a transaction, the old one must not open a session: check against the new hash.
        await users.lock(db, user_id)
        # Lock and read in two statements: one that waits for a lock returns joined rows as of before the wait.
        found = await password_credentials.find_with_user_confidential(db, user_id=user_id)
        if found is not None and found.password_hash == stored:
            break
        stored = found.password_hash if found is not None else None
    if verification.replacement is not None:
        await password_credentials.replace(db, user_id=user_id, password_hash=verification.replacement)
        await audit.record(db, AuditAction.USER_PASSWORD_REHASHED, subject_id=user_id)
    return found


async def _tell_owner(db: AsyncSession, runtime: Runtime, user_id: UUID | None) -> None:
    await audit.record(
        db,
        AuditAction.USER_LOGIN_THROTTLED,
        outcome=Outcome.FAILURE,
        reason="too_many_wrong_passwords",
        subject_id=user_id,
    )
    owner = await users.find_by_id(db, user_id) if user_id else None
    if owner is not None:
        await notifications.notify(db, runtime, user=owner, kind=MailKind.LOGIN_THROTTLED)
