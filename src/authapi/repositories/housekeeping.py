"""Removes expired rows of each table, a bounded number at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from authapi.enums import MailState
from authapi.models import (
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
from authapi.repositories import audit_chain

_ADVISORY_LOCK = 0x70757267


async def try_lock(db: AsyncSession) -> bool:
    """Be the only host that purges until the transaction ends; False if another one is."""
    if db.get_bind().dialect.name != "postgresql":
        return True
    statement = text("SELECT pg_try_advisory_xact_lock(:key)")
    return bool(await db.scalar(statement, {"key": _ADVISORY_LOCK}))


async def purge(db: AsyncSession, table: str, *, before: datetime, limit: int) -> int:
    """Remove rows of a table that stopped to matter before an instant; returns how many."""
    if table == AuditEvent.__tablename__:
        return await _purge_audit_events(db, before=before, limit=limit)
    expiry = _EXPIRIES[table]
    ids = select(expiry.key).where(expiry.is_over(before)).limit(limit)
    removed = await db.execute(delete(expiry.model).where(expiry.key.in_(ids)).returning(expiry.key))
    return len(removed.all())


async def _purge_audit_events(db: AsyncSession, *, before: datetime, limit: int) -> int:
    """Cut off the oldest end of the chain; the anchor `start` remembers where it begins now."""
    await audit_chain.lock(db)
    start = await audit_chain.find_anchor(db, "start")
    events = await audit_chain.list_sealed(db, after=start.sequence if start else 0, limit=limit)
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
    await audit_chain.set_anchor(db, "start", sequence=last.sequence, chain_hash=last.chain_hash)
    await db.execute(delete(AuditEvent).where(AuditEvent.sequence <= last.sequence))
    return len(old)


@dataclass(frozen=True, slots=True)
class _Expiry:
    """A table, its key, and what makes a row of it expired."""

    model: type[Base]
    key: InstrumentedAttribute[Any]
    is_over: Callable[[datetime], ColumnElement[bool]]


_EXPIRIES = {
    expiry.model.__tablename__: expiry
    for expiry in (
        _Expiry(OneTimeToken, OneTimeToken.id, lambda before: OneTimeToken.expires_at < before),
        _Expiry(
            UserSession,
            UserSession.id,
            lambda before: or_(
                UserSession.expires_at < before,
                UserSession.idle_expires_at < before,
                UserSession.revoked_at < before,
            ),
        ),
        _Expiry(Revocation, Revocation.id, lambda before: Revocation.expires_at < before),
        _Expiry(
            MailMessage,
            MailMessage.id,
            lambda before: and_(MailMessage.state != MailState.PENDING, MailMessage.updated_at < before),
        ),
        _Expiry(LoginThrottle, LoginThrottle.key_hash, lambda before: LoginThrottle.expires_at < before),
        _Expiry(KnownDevice, KnownDevice.id, lambda before: KnownDevice.expires_at < before),
        _Expiry(SigningKey, SigningKey.id, lambda before: SigningKey.verifies_until < before),
    )
}
