"""The audit trail as a chain: what is not sealed yet, and the sealed events in their order."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import AuditAnchor, AuditEvent
from authapi.repositories import advisory_locks
from authapi.repositories.advisory_locks import AdvisoryLock


async def lock(db: AsyncSession) -> None:
    """Keep other hosts from sealing or purging until the transaction ends."""
    await advisory_locks.lock(db, AdvisoryLock.AUDIT_CHAIN)


async def find_anchor(db: AsyncSession, name: str) -> AuditAnchor | None:
    """The anchor as the database has it now."""
    statement = select(AuditAnchor).where(AuditAnchor.name == name)
    return await db.scalar(statement.execution_options(populate_existing=True))


async def set_anchor(db: AsyncSession, name: str, *, sequence: int, chain_hash: bytes) -> None:
    """Move an anchor, or make it."""
    anchor = await find_anchor(db, name)
    if anchor is None:
        db.add(AuditAnchor(name=name, sequence=sequence, chain_hash=chain_hash))
    else:
        anchor.sequence, anchor.chain_hash = sequence, chain_hash
    await db.flush()


async def has_unsealed(db: AsyncSession) -> bool:
    """Whether anything waits to be sealed."""
    statement = select(AuditEvent.id).where(AuditEvent.sequence.is_(None)).limit(1)
    return (await db.scalar(statement)) is not None


async def list_unsealed(db: AsyncSession, *, limit: int) -> Sequence[AuditEvent]:
    """Events without a place in the chain, in the order of their creation."""
    statement = select(AuditEvent).where(AuditEvent.sequence.is_(None))
    return (await db.scalars(statement.order_by(AuditEvent.id).limit(limit))).all()


async def store_seals(db: AsyncSession, seals: list[dict[str, Any]]) -> None:
    """Write place and hashes of events; each dict has `id`, `sequence`, `chain_hash`, `personal_hash`."""
    await db.execute(update(AuditEvent), seals)


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
