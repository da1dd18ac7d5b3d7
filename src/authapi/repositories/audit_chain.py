"""The audit trail as a chain: what is not sealed yet, and the sealed events in their order."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import AuditAnchor, AuditEvent
from authapi.models.base import table_of
from authapi.repositories import advisory_locks
from authapi.repositories.advisory_locks import AdvisoryLock

# Built once: every process asks every two seconds.
_ANCHOR = select(AuditAnchor).where(AuditAnchor.name == bindparam("name"))
_EVENTS = table_of(AuditEvent)
_ANY_UNSEALED = select(_EVENTS.c.id).where(_EVENTS.c.sequence.is_(None)).limit(1)
_UNSEALED = (
    select(AuditEvent)
    .where(AuditEvent.sequence.is_(None))
    .order_by(AuditEvent.id)
    .limit(bindparam("limit", type_=Integer))
)
_SEALING = update(AuditEvent)


async def lock(db: AsyncSession) -> None:
    """Keep other hosts from sealing or purging until the transaction ends."""
    await advisory_locks.lock(db, AdvisoryLock.AUDIT_CHAIN)


async def find_anchor(db: AsyncSession, name: str) -> AuditAnchor | None:
    """The anchor as the database has it now."""
    return await db.scalar(_ANCHOR, {"name": name}, execution_options={"populate_existing": True})


async def save_anchor(db: AsyncSession, anchor: AuditAnchor) -> None:
    """Store an anchor that is new or has moved."""
    db.add(anchor)
    await db.flush()


async def has_unsealed(db: AsyncSession) -> bool:
    """Whether anything waits to be sealed."""
    return (await db.scalar(_ANY_UNSEALED)) is not None


async def list_unsealed(db: AsyncSession, *, limit: int) -> Sequence[AuditEvent]:
    """Events without a place in the chain, in the order of their creation."""
    return (await db.scalars(_UNSEALED, {"limit": limit})).all()


async def store_seals(db: AsyncSession, seals: list[dict[str, Any]]) -> None:
    """Write place and hashes of events; each dict has `id`, `sequence`, `chain_hash`, `personal_hash`."""
    await db.execute(_SEALING, seals)


async def list_sealed(db: AsyncSession, *, after: int, limit: int) -> Sequence[AuditEvent]:
    """Sealed events behind a place in the chain, in their order."""
    statement = select(AuditEvent).where(AuditEvent.sequence > after)
    return (await db.scalars(statement.order_by(AuditEvent.sequence).limit(limit))).all()


async def list_of_user(db: AsyncSession, user_id: UUID) -> Sequence[AuditEvent]:
    """All events that a user did or suffered."""
    statement = select(AuditEvent).where(
        (AuditEvent.subject_id == user_id) | (AuditEvent.actor_id == user_id)
    )
    return (await db.scalars(statement.order_by(AuditEvent.id))).all()
