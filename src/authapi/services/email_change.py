"""E-mail change: confirmed on the new address, announced on the old one, which can undo it."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.emails import EmailAddress
from authapi.enums import AuditAction, MailKind, OneTimeTokenPurpose, RevocationReason
from authapi.models import OneTimeToken, User
from authapi.principal import Principal
from authapi.repositories import known_devices, password_credentials, users
from authapi.repositories import one_time_tokens as token_rows
from authapi.runtime import Runtime
from authapi.services import (
    account_deletion,
    audit,
    mail_links,
    mail_outbox,
    notifications,
    one_time_tokens,
    password_reset,
    revocation,
    second_factors,
)
from authapi.services.password_check import check_password_of_caller
from authapi.services.registration import parse_new_email


async def request_change(
    db: AsyncSession, runtime: Runtime, *, principal: Principal, new_email: str, password: str
) -> None:
    """Mail a link to the new address; nothing changes before it is used.

    Does the same whether or not the new address has an account (ASVS 6.3.8); the owner of one is told.
    Raises `InvalidEmail`, `InvalidCredentials`, `TooManyAttempts`, `HashingBusy`.
    """
    address = parse_new_email(runtime, new_email, field="new_email")
    user = await check_password_of_caller(
        db,
        runtime,
        principal=principal,
        password=password,
        action=AuditAction.USER_EMAIL_CHANGE_REFUSED,
    )
    token = await one_time_tokens.issue(
        db,
        runtime,
        purpose=OneTimeTokenPurpose.CHANGE_EMAIL,
        user_id=user.id,
        data={"email": address.display, "email_canonical": address.canonical},
    )
    owner = await users.find_bare_by_email(db, email_canonical=address.canonical)
    if owner is not None and owner.id != user.id:
        await notifications.notify(db, runtime, user=owner, kind=MailKind.ALREADY_REGISTERED)
    else:
        await mail_outbox.enqueue(
            db,
            runtime,
            kind=MailKind.CHANGE_EMAIL,
            to=address.display,
            recipient_canonical=address.canonical,
            locale=user.locale,
            user_id=user.id,
            context={
                "full_name": user.full_name,
                "link": mail_links.link(runtime, mail_links.CONFIRM_EMAIL_CHANGE, token=token),
                "lifetime": runtime.settings.one_time_token.change_lifetime,
            },
        )
    await audit.record(
        db,
        AuditAction.USER_EMAIL_CHANGE_REQUESTED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=principal.user_session_id,
    )


async def find_account(db: AsyncSession, *, token: str) -> tuple[User, str]:
    """The account that a token changes and the new address, for a page that asks first.

    Raises `InvalidOneTimeToken`.
    """
    found = await one_time_tokens.find(db, purpose=OneTimeTokenPurpose.CHANGE_EMAIL, token=token)
    user = await users.find_by_id(db, found.user_id) if found.user_id else None
    if user is None or not user.is_active:
        raise errors.InvalidOneTimeToken
    return user, found.data["email"]


async def confirm(db: AsyncSession, runtime: Runtime, *, token: str) -> User:
    """Make the new address the account's; the old one gets a link that undoes it for some days.

    Access tokens with the old address end; sessions refresh. Raises `InvalidOneTimeToken`, also when somebody
    else has taken the address meanwhile.
    """
    user, consumed = await _consume(db, token, OneTimeTokenPurpose.CHANGE_EMAIL)
    old = EmailAddress(user.email, user.email_canonical)
    undo_token = await one_time_tokens.issue(
        db,
        runtime,
        purpose=OneTimeTokenPurpose.UNDO_EMAIL_CHANGE,
        user_id=user.id,
        data={"email": old.display, "email_canonical": old.canonical},
    )
    await _set_email(db, user, _address_in(consumed))
    await revocation.void_access_tokens(db, runtime, user=user)
    await audit.record(db, AuditAction.USER_EMAIL_CHANGED, actor_id=user.id, subject_id=user.id)
    await mail_outbox.enqueue(
        db,
        runtime,
        kind=MailKind.EMAIL_CHANGED,
        to=old.display,
        recipient_canonical=old.canonical,
        locale=user.locale,
        user_id=user.id,
        context=notifications.event_context(user)
        | {
            "new_email": user.email,
            "link": mail_links.link(runtime, mail_links.UNDO_EMAIL_CHANGE, token=undo_token),
            "lifetime": runtime.settings.one_time_token.undo_lifetime,
        },
    )
    return user


async def undo(db: AsyncSession, runtime: Runtime, *, token: str) -> User:
    """Give the account back to the owner of its old address, who is mailed a link to choose a password.

    The attacker who changed the address knew the password. So everything they may have left behind is removed or
    undone: the password, every session and device, later changes of the address, a second factor added or a
    deletion since the change, and an unverified account that has taken the old address. Raises
    `InvalidOneTimeToken`, also when somebody else has verified the old address meanwhile.
    """
    user, consumed = await _consume(db, token, OneTimeTokenPurpose.UNDO_EMAIL_CHANGE)
    address = _address_in(consumed)
    if user.email_canonical != address.canonical:
        await account_deletion.make_room(db, runtime, email_canonical=address.canonical)
    user.deleted_at = None
    await _set_email(db, user, address)
    await _void_tokens_since(db, user, consumed)
    await revocation.revoke_user_sessions(
        db, runtime, user_id=user.id, reason=RevocationReason.EMAIL_CHANGE_UNDONE, actor_id=user.id
    )
    await password_credentials.remove(db, user_id=user.id)
    await known_devices.forget(db, user_id=user.id)
    await second_factors.remove_since(db, user_id=user.id, since=consumed.created_at)
    await audit.record(db, AuditAction.USER_EMAIL_CHANGE_UNDONE, actor_id=user.id, subject_id=user.id)
    await password_reset.send_link(db, runtime, user=user)
    return user


async def _consume(db: AsyncSession, token: str, purpose: OneTimeTokenPurpose) -> tuple[User, OneTimeToken]:
    # Lock the user before the token, as everywhere: in another order two transactions could deadlock.
    found = await one_time_tokens.find(db, purpose=purpose, token=token)
    user = await users.find_for_update(db, found.user_id) if found.user_id else None
    if user is None or user.disabled_at is not None:
        raise errors.InvalidOneTimeToken
    if user.deleted_at is not None and purpose is not OneTimeTokenPurpose.UNDO_EMAIL_CHANGE:
        raise errors.InvalidOneTimeToken
    return user, await one_time_tokens.consume(db, purpose=purpose, token=token)


async def _void_tokens_since(db: AsyncSession, user: User, consumed: OneTimeToken) -> None:
    now = clock.utc_now()
    await token_rows.void_all(db, user_id=user.id, now=now, purposes=one_time_tokens.ALL_BUT_WAYS_BACK)
    # Only newer undo links: an attacker who changes the address twice gets one too, and using it must not void the
    # owner's older one.
    await token_rows.void_all(
        db,
        user_id=user.id,
        now=now,
        purposes=one_time_tokens.WAYS_BACK,
        issued_after=consumed.created_at,
    )


def _address_in(token: OneTimeToken) -> EmailAddress:
    return EmailAddress(token.data["email"], token.data["email_canonical"])


async def _set_email(db: AsyncSession, user: User, address: EmailAddress) -> None:
    user.email, user.email_canonical = address.display, address.canonical
    user.email_verified_at = clock.utc_now()
    try:
        await users.save_changes(db)
    except errors.EmailTaken:
        raise errors.InvalidOneTimeToken("the address was taken meanwhile") from None
