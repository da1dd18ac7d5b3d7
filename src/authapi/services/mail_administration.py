"""What an operator does with the outbox: look at it, and send again what could not be sent."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import MailState
from authapi.models import MailMessage
from authapi.repositories import mail_messages
from authapi.services.mail_outbox import TRIED_FOR


async def list_mails(db: AsyncSession, *, state: MailState | None, limit: int) -> Sequence[MailMessage]:
    """Mails (of one state), the latest first; what they say stays sealed."""
    return await mail_messages.list_latest(db, state=state, limit=limit)


async def count_unsent(db: AsyncSession) -> tuple[int, int]:
    """How many mails wait, and how many were given up."""
    counts = await mail_messages.count_unsent(db)
    return counts.get(MailState.PENDING, 0), counts.get(MailState.DEAD, 0)


async def retry(db: AsyncSession, *, ids: Sequence[UUID] | None = None) -> Sequence[UUID]:
    """Start over with the mails of these ids, or with all that are not sent; returns the ids of those.

    Sent mails are left alone, and so are those that a sender has in hand.
    """
    now = clock.utc_now()
    return await mail_messages.retry(db, now=now, give_up_at=now + TRIED_FOR, ids=ids)
