"""Mails with a link that anybody can ask for: an unknown address gets none, and costs the same work."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors, request_context
from authapi.emails import EmailAddress, MalformedEmail, parse_email
from authapi.enums import Locale, MailKind, OneTimeTokenPurpose
from authapi.mail.contexts import REQUIRED_CONTEXT
from authapi.models import OneTimeToken, User
from authapi.models.base import new_id
from authapi.repositories import one_time_tokens as token_rows
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import mail_links, mail_outbox, one_time_tokens

_MAILS = {
    OneTimeTokenPurpose.VERIFY_EMAIL: (MailKind.VERIFY_EMAIL, mail_links.VERIFY_EMAIL),
    OneTimeTokenPurpose.RESET_PASSWORD: (MailKind.RESET_PASSWORD, mail_links.RESET_PASSWORD),
}


async def offer(
    db: AsyncSession,
    runtime: Runtime,
    *,
    purpose: OneTimeTokenPurpose,
    user: User | None,
    address: EmailAddress,
) -> None:
    """Mail a link to a user; for None go through the same motions and undo them (ASVS 6.3.8).

    If the hourly cap is reached, the new token is rolled back too, so that the link already mailed keeps working.
    """
    async with db.begin_nested() as savepoint:
        link = await issue(db, runtime, purpose=purpose, user=user)
        is_written = await write(db, runtime, purpose=purpose, user=user, address=address, link=link)
        if user is None or not is_written:
            await savepoint.rollback()


async def issue(
    db: AsyncSession, runtime: Runtime, *, purpose: OneTimeTokenPurpose, user: User | None
) -> str:
    """A link with a new token, which replaces the user's earlier one; it works while they keep this address."""
    if user is None:
        # The statement that issuing runs for a user: without it the time would tell that there is no account.
        await token_rows.void_all(db, user_id=new_id(), now=clock.utc_now(), purposes={purpose})
    token = await one_time_tokens.issue(
        db,
        runtime,
        purpose=purpose,
        user_id=user.id if user else None,
        data={"email_canonical": user.email_canonical} if user else {},
    )
    return mail_links.link(runtime, _MAILS[purpose][1], token=token)


async def write(
    db: AsyncSession,
    runtime: Runtime,
    *,
    purpose: OneTimeTokenPurpose,
    user: User | None,
    address: EmailAddress,
    link: str,
) -> bool:
    """Write the mail that carries a link; False if the address had its mails of the hour."""
    kind, caller = _MAILS[purpose][0], request_context.current()
    values = {
        "full_name": user.full_name if user else "",
        "link": link,
        "lifetime": one_time_tokens.lifetime_of(runtime, purpose),
        "when": clock.utc_now(),
        "ip": caller.ip,
        "user_agent": caller.user_agent,
    }
    return await mail_outbox.enqueue(
        db,
        runtime,
        kind=kind,
        to=user.email if user else address.display,
        recipient_canonical=address.canonical,
        locale=user.locale if user else Locale.EN,
        user_id=user.id if user else None,
        context={name: values[name] for name in REQUIRED_CONTEXT[kind]},
    )


async def find_account(db: AsyncSession, *, purpose: OneTimeTokenPurpose, token: str) -> User:
    """The account that a mailed token decides about, without using it up; raises `InvalidOneTimeToken`."""
    found = await one_time_tokens.find(db, purpose=purpose, token=token)
    user = await users.find_by_id(db, found.user_id) if found.user_id else None
    return _ensure_decides(found, user)


async def consume(db: AsyncSession, *, purpose: OneTimeTokenPurpose, token: str) -> User:
    """Use a mailed token up; returns its account, locked. Raises `InvalidOneTimeToken`.

    The account is locked before the token, as everywhere: other orders would deadlock.
    """
    account = await find_account(db, purpose=purpose, token=token)
    user = await users.find_for_update(db, account.id)
    return _ensure_decides(await one_time_tokens.consume(db, purpose=purpose, token=token), user)


def parse_address(email: str) -> EmailAddress:
    """An address that may have an account, also one of a domain that new ones may not use.

    Raises `InvalidEmail`.
    """
    try:
        return parse_email(email, allow_special_domains=True)
    except MalformedEmail:
        raise errors.InvalidEmail.of("email") from None


def _ensure_decides(token: OneTimeToken, user: User | None) -> User:
    if user is None or not user.is_active:
        raise errors.InvalidOneTimeToken("no active account")
    # A link mailed to an earlier address must no longer work: that mailbox may be somebody else's by now.
    if token.data.get("email_canonical", user.email_canonical) != user.email_canonical:
        raise errors.InvalidOneTimeToken("mailed to an earlier address")
    return user
