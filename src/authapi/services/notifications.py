"""Mails that tell people what happened to their account, so that they can act if it was not them."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, request_context
from authapi.enums import MailKind
from authapi.models import User
from authapi.runtime import Runtime
from authapi.services import mail_outbox


async def notify(
    db: AsyncSession, runtime: Runtime, *, user: User, kind: MailKind, **context: object
) -> bool:
    """Write a mail to a user about something that was just done, with when, from which address and device.

    Goes to `user.email`: a change of address is told before it is made, or through `mail_outbox.enqueue` with
    the old one (ASVS 6.3.7). `context` may replace any of these. Returns False if the mail's cap is reached.
    """
    return await mail_outbox.enqueue(
        db,
        runtime,
        kind=kind,
        to=user.email,
        recipient_canonical=user.email_canonical,
        locale=user.locale,
        user_id=user.id,
        context=event_context(user) | context,
    )


def event_context(user: User) -> dict[str, object]:
    """What mails about an event say: to whom, when, from which address and device."""
    caller = request_context.current()
    return {
        "full_name": user.full_name,
        "when": clock.utc_now(),
        "ip": caller.ip,
        "user_agent": caller.user_agent,
    }
