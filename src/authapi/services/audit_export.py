"""Hands the audit trail out to the operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import AuditEvent
from authapi.repositories import audit_chain

BATCH = 1000


@dataclass(frozen=True, slots=True)
class ExportPage:
    """Events as JSON documents, and the position from which to read on."""

    events: Sequence[dict[str, Any]]
    position: int


async def read_on(db: AsyncSession, *, position: int, since: datetime | None) -> ExportPage:
    """The next sealed events behind `position`, 0 for the beginning; the same position means no more."""
    events = await audit_chain.list_sealed(db, after=position, limit=BATCH)
    page = ExportPage(
        [as_document(event) for event in events if since is None or event.occurred_at >= since],
        events[-1].sequence or position if events else position,
    )
    db.expunge_all()
    return page


def as_document(event: AuditEvent) -> dict[str, Any]:
    """An event with everything that is stored of it."""
    return {
        "sequence": event.sequence,
        "id": str(event.id),
        "occurred_at": event.occurred_at.isoformat(),
        "action": event.action,
        "outcome": event.outcome,
        "reason": event.reason,
        "actor_id": event.actor_id and str(event.actor_id),
        "subject_id": event.subject_id and str(event.subject_id),
        "user_session_id": event.user_session_id and str(event.user_session_id),
        "ip": event.ip,
        "user_agent": event.user_agent,
        "request_id": event.request_id,
        "details": event.details,
        "chain_hash": event.chain_hash.hex() if event.chain_hash else None,
    }
