"""Mails of the outbox: counted, claimed by one sender at a time, and marked with how it went."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Integer, Select, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.enums import MailKind, MailState
from authapi.models import MailMessage
from authapi.repositories import advisory_locks


async def add(db: AsyncSession, message: MailMessage) -> None:
    """Insert a mail."""
    db.add(message)
    await db.flush()


async def lock_recipient(db: AsyncSession, *, recipient: str, kind: MailKind) -> None:
    """Let one transaction at a time count and add mails of a kind to an address, until it ends.

    Otherwise fifty requests at once would each count no mail yet, and all exceed the cap together.
    """
    digest = hashlib.sha256(f"mail {kind} {recipient}".encode()).digest()
    await advisory_locks.lock(db, int.from_bytes(digest[:8], signed=True))


async def count_since(db: AsyncSession, *, recipient: str, kind: MailKind, since: datetime) -> int:
    """How many mails of a kind were written for an address after `since`, sent or not."""
    return (
        await db.scalar(
            select(func.count()).where(
                MailMessage.recipient == recipient, MailMessage.kind == kind, MailMessage.created_at > since
            )
        )
        or 0
    )


async def count_due(db: AsyncSession, *, now: datetime, limit: int) -> int:
    """How many mails wait for a sender, counted up to `limit`."""
    return await db.scalar(_COUNT_DUE, {"now": now, "limit": limit}) or 0


async def claim(db: AsyncSession, *, now: datetime, until: datetime) -> MailMessage | None:
    """Take the mail that has waited longest: of any number of senders exactly one gets it.

    It is the caller's until `until` and counts as tried; the caller commits before it sends.
    """
    oldest = (
        select(MailMessage.id)
        .where(*_is_due(now))
        .order_by(MailMessage.next_attempt_at)
        .limit(1)
        # SQLite has no such clause: it runs one writer after the other.
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(MailMessage)
        .where(MailMessage.id == oldest)
        .values(claimed_until=until, attempts=MailMessage.attempts + 1, updated_at=now)
        .returning(MailMessage)
    )
    return (await db.scalars(statement)).one_or_none()


async def mark_sent(db: AsyncSession, *, id: UUID, now: datetime) -> None:
    """Record that the server took a mail, whoever owns it now, and erase what it said."""
    await db.execute(
        update(MailMessage)
        .where(MailMessage.id == id)
        .values(
            state=MailState.SENT,
            sent_at=now,
            sealed_message=None,
            claimed_until=None,
            last_error=None,
            updated_at=now,
        )
    )


async def mark_failed(
    db: AsyncSession,
    *,
    id: UUID,
    claimed_until: datetime | None,
    state: MailState,
    next_attempt_at: datetime,
    last_error: str,
    now: datetime,
) -> None:
    """Record a failed attempt, unless another sender has taken the mail over in the meantime."""
    await db.execute(
        update(MailMessage)
        .where(
            MailMessage.id == id,
            MailMessage.claimed_until == claimed_until,
            MailMessage.state == MailState.PENDING,
        )
        .values(
            state=state,
            claimed_until=None,
            next_attempt_at=next_attempt_at,
            last_error=last_error,
            updated_at=now,
        )
    )


async def hurry(db: AsyncSession, *, now: datetime) -> None:
    """Let every waiting mail be tried at once, except those that a living sender owns."""
    await db.execute(
        update(MailMessage)
        .where(MailMessage.state == MailState.PENDING, MailMessage.next_attempt_at > now, _is_unclaimed(now))
        .values(next_attempt_at=now, updated_at=now)
    )


async def retry(
    db: AsyncSession, *, now: datetime, give_up_at: datetime, ids: Sequence[UUID] | None = None
) -> Sequence[UUID]:
    """Start over with dead and waiting mails, or those of them with these ids; returns the ids of those."""
    statement = update(MailMessage).where(
        MailMessage.state.in_([MailState.PENDING, MailState.DEAD]), _is_unclaimed(now)
    )
    if ids is not None:
        statement = statement.where(MailMessage.id.in_(ids))
    statement = statement.values(
        state=MailState.PENDING, attempts=0, next_attempt_at=now, give_up_at=give_up_at, updated_at=now
    )
    return (await db.scalars(statement.returning(MailMessage.id))).all()


async def list_latest(
    db: AsyncSession, *, state: MailState | None = None, limit: int = 100
) -> Sequence[MailMessage]:
    """Mails, the latest first."""
    # By key, which is in the order of creation and has an index.
    statement = select(MailMessage).order_by(MailMessage.id.desc()).limit(limit)
    if state is not None:
        statement = statement.where(MailMessage.state == state)
    return (await db.scalars(statement)).all()


async def count_unsent(db: AsyncSession, *, limit: int = 100_000) -> dict[str, int]:
    """How many mails wait or were given up, by state, each counted up to `limit`."""
    counted = {}
    for state in (MailState.PENDING, MailState.DEAD):
        of_state = select(MailMessage.id).where(MailMessage.state == state).limit(limit).subquery()
        counted[state.value] = await db.scalar(select(func.count()).select_from(of_state)) or 0
    return counted


async def list_sealed(db: AsyncSession) -> Sequence[MailMessage]:
    """Mails that still say something, locked until the transaction ends."""
    statement = select(MailMessage).where(MailMessage.sealed_message.is_not(None)).with_for_update()
    return (await db.scalars(statement)).all()


def _is_due(now: datetime | BindParameter[datetime]) -> tuple[ColumnElement[bool], ...]:
    return MailMessage.state == MailState.PENDING, MailMessage.next_attempt_at <= now, _is_unclaimed(now)


def _is_unclaimed(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    return or_(MailMessage.claimed_until.is_(None), MailMessage.claimed_until <= now)


def _counting_due() -> Select[int]:
    now = bindparam("now", type_=MailMessage.next_attempt_at.type)
    due = select(MailMessage.id).where(*_is_due(now)).limit(bindparam("limit", type_=Integer))
    return select(func.count()).select_from(due.subquery())


# Put together once: every process asks once a second.
_COUNT_DUE = _counting_due()
