"""The outbox: a mail is written along with what caused it and leaves once that is committed."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.database import after_commit
from authapi.enums import MailKind, MailState
from authapi.mail.composition import address_of, compose, make_message_id
from authapi.mail.transport import Envelope
from authapi.models import MailMessage
from authapi.models.base import new_id
from authapi.repositories import mail_messages
from authapi.runtime import Runtime
from authapi.security.sealing import SealBroken, Sealer

SEALING_PURPOSE = "mail-outbox"
CAP_PERIOD = timedelta(hours=1)
# A mail server that is away for a weekend's day loses no mail.
TRIED_FOR = timedelta(hours=48)
# Mails that strangers can cause, for they need to know no more than an address.
_FOR_STRANGERS = frozenset(
    {
        MailKind.VERIFY_EMAIL,
        MailKind.ALREADY_REGISTERED,
        MailKind.RESET_PASSWORD,
        MailKind.CHANGE_EMAIL,
        MailKind.INVITATION,
        MailKind.LOGIN_THROTTLED,
    }
)
# All other kinds report something that happened to the account. If one were withheld, the owner could not react to
# an attack. So their cap is ten times higher: it only keeps a runaway loop from filling the mailbox.
_NOTIFICATION_FACTOR = 10


async def enqueue(
    db: AsyncSession,
    runtime: Runtime,
    *,
    kind: MailKind,
    to: str,
    recipient_canonical: str,
    locale: str,
    user_id: UUID | None,
    context: Mapping[str, object],
) -> bool:
    """Write a mail in this transaction; it leaves after the commit, and never if that fails.

    `to` is the address as its owner typed it, `recipient_canonical` the form that mails are counted by.
    `context` is what `mail.contexts.REQUIRED_CONTEXT` lists for the kind. Returns False, and writes nothing,
    if the address got `AUTHAPI_MAIL__MAX_PER_HOUR` mails of this kind within the hour; the caller answers
    alike (ASVS 2.3.2, 6.3.8). Raises `KeyError` for a context that lacks something.
    """
    now = clock.utc_now()
    mail_id = new_id()
    message_id = make_message_id(mail_id, sender=runtime.settings.mail.sender)
    # The local part is the mail server's to interpret; the domain is written as the DNS knows it.
    recipient = f"{to.rpartition('@')[0]}@{recipient_canonical.rpartition('@')[2]}"
    message = compose(
        kind,
        sender=runtime.settings.mail.sender,
        to=recipient,
        locale=locale,
        base_url=runtime.settings.base_url,
        message_id=message_id,
        date=now,
        context=context,
    )
    # Counted after the mail was made: reaching the cap must not show in the time, and the lock must be short.
    await mail_messages.lock_recipient(db, recipient=recipient_canonical, kind=kind)
    already = await mail_messages.count_since(
        db, recipient=recipient_canonical, kind=kind, since=now - CAP_PERIOD
    )
    if already >= max_per_hour(runtime, kind):
        return False
    await mail_messages.add(
        db,
        MailMessage(
            id=mail_id,
            kind=kind,
            recipient=recipient_canonical,
            user_id=user_id,
            message_id=message_id,
            sealed_message=sealer(runtime).seal(f"{recipient}\n".encode() + message, context=mail_id.bytes),
            state=MailState.PENDING,
            next_attempt_at=now,
            give_up_at=now + TRIED_FOR,
        ),
    )
    after_commit(db, runtime.mail_wakeup.set)
    return True


def max_per_hour(runtime: Runtime, kind: MailKind) -> int:
    """How many mails of a kind an address gets within an hour."""
    base = runtime.settings.mail.max_per_hour
    return base if kind in _FOR_STRANGERS else base * _NOTIFICATION_FACTOR


async def reseal_mails(db: AsyncSession, runtime: Runtime) -> tuple[int, int]:
    """Seal again what an earlier secret key sealed; returns how many those were, and of how many.

    A mail that no configured secret key opens cannot be sent either: it is left as it is.
    """
    mails, tool, changed = await mail_messages.list_sealed(db), sealer(runtime), 0
    for mail in mails:
        sealed = mail.sealed_message or ""
        if tool.is_current(sealed):
            continue
        with suppress(SealBroken):
            mail.sealed_message = tool.seal(tool.open(sealed, context=mail.id.bytes), context=mail.id.bytes)
            changed += 1
    await db.flush()
    return changed, len(mails)


def unseal(tool: Sealer, mail: MailMessage, *, sender: str) -> Envelope:
    """What a stored mail says and where it goes; raises `SealBroken`."""
    recipient, _, message = tool.open(mail.sealed_message or "", context=mail.id.bytes).partition(b"\n")
    return Envelope(id=str(mail.id), sender=address_of(sender), recipient=recipient.decode(), message=message)


def sealer(runtime: Runtime) -> Sealer:
    """Seals and opens mails; their context is the row's id."""
    return Sealer(runtime.derived_keys, SEALING_PURPOSE)
