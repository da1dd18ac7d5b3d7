"""Removes expired rows of each table, a bounded number at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Executable, and_, delete, or_, select, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from authapi.enums import MailState
from authapi.models import (
    AuditAnchor,
    AuditEvent,
    KnownDevice,
    LoginThrottle,
    MailMessage,
    OneTimeToken,
    Revocation,
    SigningKey,
    UserSession,
)
from authapi.models.base import Base
from authapi.repositories import advisory_locks, audit_chain
from authapi.repositories.advisory_locks import AdvisoryLock


async def try_lock(db: AsyncSession) -> bool:
    """Be the only host that purges until the transaction ends; False if another one is."""
    return await advisory_locks.try_lock(db, AdvisoryLock.HOUSEKEEPING)


async def purge(db: AsyncSession, table: str, *, before: datetime, limit: int) -> int:
    """Remove rows of a table that stopped to matter before an instant; returns how many."""
    if table == AuditEvent.__tablename__:
        return await _purge_audit_events(db, before=before, limit=limit)
    expiry = _EXPIRIES[table]
    ids = (await db.scalars(_due(expiry, before=before, limit=limit))).all()
    if ids:
        # Asked again: what was renewed or retried in the meantime stays.
        is_over = expiry.is_over(before)
        await db.execute(delete(expiry.model).where(expiry.key.in_(ids), is_over))
    return len(ids)


def _due(expiry: "_Expiry", *, before: datetime, limit: int) -> Executable:
    """Keys of expired rows, read from the oldest end of the index of each column that can say so.

    One condition with OR would read the whole table whenever the planner hopes for many such rows.
    """
    oldest = [
        select(expiry.key.label("key"))
        .where(column < before, expiry.is_over(before))
        .order_by(column)
        .limit(limit)
        .subquery()
        for column in expiry.columns
    ]
    return union(*(select(each.c.key) for each in oldest)).limit(limit)


async def _purge_audit_events(db: AsyncSession, *, before: datetime, limit: int) -> int:
    """Cut off the oldest end of the chain; the anchor `start` remembers where it begins now."""
    await audit_chain.lock(db)
    start = await audit_chain.find_anchor(db, "start") or AuditAnchor(name="start", sequence=0)
    events = await audit_chain.list_sealed(db, after=start.sequence, limit=limit)
    # In the order of the chain: the first event that is too young ends the purge.
    old = []
    for event in events:
        if event.occurred_at >= before:
            break
        old.append(event)
    if not old:
        return 0
    last = old[-1]
    if last.sequence is None or last.chain_hash is None:
        raise ValueError("a sealed event without a seal")
    start.sequence, start.chain_hash = last.sequence, last.chain_hash
    await audit_chain.save_anchor(db, start)
    await db.execute(delete(AuditEvent).where(AuditEvent.sequence <= last.sequence))
    return len(old)


@dataclass(frozen=True, slots=True)
class _Expiry:
    """A table, its key, what makes a row of it expired, and the columns by whose age such rows are found."""

    model: type[Base]
    key: InstrumentedAttribute[Any]
    columns: Sequence[InstrumentedAttribute[Any]]
    is_over: Callable[[datetime], ColumnElement[bool]]


_EXPIRIES = {
    expiry.model.__tablename__: expiry
    for expiry in (
        _Expiry(
            OneTimeToken,
            OneTimeToken.id,
            [OneTimeToken.expires_at],
            lambda before: OneTimeToken.expires_at < before,
        ),
        _Expiry(
            UserSession,
            UserSession.id,
            [UserSession.expires_at, UserSession.idle_expires_at, UserSession.revoked_at],
            lambda before: or_(
                UserSession.expires_at < before,
                UserSession.idle_expires_at < before,
                UserSession.revoked_at < before,
            ),
        ),
        _Expiry(
            Revocation,
            Revocation.id,
            [Revocation.expires_at],
            lambda before: Revocation.expires_at < before,
        ),
        _Expiry(
            MailMessage,
            MailMessage.id,
            [MailMessage.updated_at],
            lambda before: and_(MailMessage.state != MailState.PENDING, MailMessage.updated_at < before),
        ),
        _Expiry(
            LoginThrottle,
            LoginThrottle.key_hash,
            [LoginThrottle.expires_at],
            lambda before: LoginThrottle.expires_at < before,
        ),
        _Expiry(
            KnownDevice,
            KnownDevice.id,
            [KnownDevice.expires_at],
            lambda before: KnownDevice.expires_at < before,
        ),
        _Expiry(
            SigningKey,
            SigningKey.id,
            [SigningKey.verifies_until],
            lambda before: SigningKey.verifies_until < before,
        ),
    )
}
