"""Password reset: who forgot the password proves control of the address instead."""

from contextlib import suppress

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.database import hand_back_connection
from authapi.enums import AuditAction, MailKind, OneTimeTokenPurpose, Outcome, RevocationReason
from authapi.models import User
from authapi.repositories import known_devices as device_rows
from authapi.repositories import one_time_tokens as token_rows
from authapi.repositories import password_credentials, users
from authapi.runtime import Runtime
from authapi.services import (
    audit,
    known_devices,
    link_mails,
    notifications,
    revocation,
    second_factors,
)
from authapi.services.new_passwords import hash_new_password
from authapi.services.one_time_tokens import ALL_BUT_WAYS_BACK

PURPOSE = OneTimeTokenPurpose.RESET_PASSWORD


async def request_reset(db: AsyncSession, runtime: Runtime, *, email: str) -> None:
    """Mail a link to an active account; the same work and answer for every other address (ASVS 6.3.8).

    Raises `InvalidEmail` for what is no address.
    """
    address = link_mails.parse_address(email)
    user = await users.find_bare_by_email(db, email_canonical=address.canonical)
    may_reset = user is not None and user.is_active
    await audit.record(
        db,
        AuditAction.USER_PASSWORD_RESET_REQUESTED,
        outcome=Outcome.SUCCESS if may_reset else Outcome.FAILURE,
        reason=None if may_reset else "no_active_account",
        subject_id=user.id if user else None,
    )
    await link_mails.offer(db, runtime, purpose=PURPOSE, user=user if may_reset else None, address=address)


async def send_link(db: AsyncSession, runtime: Runtime, *, user: User) -> None:
    """Mail an account's owner a link to choose another password: an administrator or an undone takeover asks.

    If the hourly cap is reached, the link already mailed keeps working.
    """
    async with db.begin_nested() as savepoint:
        link = await link_mails.issue(db, runtime, purpose=PURPOSE, user=user)
        lifetime = runtime.settings.one_time_token.reset_lifetime
        if not await notifications.notify(
            db, runtime, user=user, kind=MailKind.RESET_PASSWORD, link=link, lifetime=lifetime
        ):
            await savepoint.rollback()


async def find_account(db: AsyncSession, *, token: str) -> User:
    """The account whose password a token resets, for a page that asks first; raises `InvalidOneTimeToken`."""
    return await link_mails.find_account(db, purpose=PURPOSE, token=token)


async def reset(db: AsyncSession, runtime: Runtime, *, token: str, new_password: str) -> str:
    """Replace the password and end every session; returns a device token and logs nobody in.

    With the device token the owner gets past strangers who hammer the login. A second factor stays (ASVS
    6.4.3), unless the account was unverified until now: then whatever was set up before may be a stranger's,
    and all of it goes. Raises `InvalidOneTimeToken`, `WeakPassword`, `HashingBusy`.
    """
    # Read the token first and consume it last: a new password that is refused must not use up the link.
    account = await find_account(db, token=token)
    await hand_back_connection(db)
    password_hash = await hash_new_password(
        runtime, new_password, email=account.email, full_name=account.full_name, field="new_password"
    )
    user = await link_mails.consume(db, purpose=PURPOSE, token=token)
    await _store_password(db, user, password_hash)
    await revocation.revoke_user_sessions(
        db, runtime, user_id=user.id, reason=RevocationReason.PASSWORD_CHANGED, actor_id=user.id
    )
    if user.email_verified:
        # A pending change of e-mail, or a login that waits for its code, may be an attacker's: void both. Undo
        # links stay valid: if an attacker changed the e-mail and then resets, such a link is the owner's only way
        # back.
        await token_rows.void_all(db, user_id=user.id, now=clock.utc_now(), purposes=ALL_BUT_WAYS_BACK)
    else:
        await _take_over(db, user)
    # An attacker who knew the old password may have a known device, whose budget of tries is larger.
    await device_rows.forget(db, user_id=user.id)
    device_token = await known_devices.remember(db, runtime, user_id=user.id, held=0)
    await audit.record(db, AuditAction.USER_PASSWORD_RESET, actor_id=user.id, subject_id=user.id)
    await notifications.notify(db, runtime, user=user, kind=MailKind.PASSWORD_CHANGED)
    return device_token


async def _store_password(db: AsyncSession, user: User, password_hash: str) -> None:
    if await password_credentials.find_hash_confidential(db, user_id=user.id) is None:
        await password_credentials.add(db, user_id=user.id, password_hash=password_hash)
    else:
        await password_credentials.replace(db, user_id=user.id, password_hash=password_hash)


async def _take_over(db: AsyncSession, user: User) -> None:
    """Make an unverified account the address owner's alone: a stranger may have made it in advance."""
    user.email_verified_at = clock.utc_now()
    await users.save_changes(db)
    await token_rows.void_all(db, user_id=user.id, now=clock.utc_now())
    with suppress(errors.FactorNotFound):
        await second_factors.remove(db, user_id=user.id)
    await audit.record(db, AuditAction.USER_EMAIL_VERIFIED, actor_id=user.id, subject_id=user.id)
