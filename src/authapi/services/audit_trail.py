"""Audit trail: administrators look at what happened, and users at what happened to their account."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi.enums import AuditAction
from authapi.models import AuditEvent
from authapi.principal import Principal
from authapi.repositories import audit_events
from authapi.repositories.audit_events import EventFilter
from authapi.repositories.pagination import Page
from authapi.services import admin_trail

__all__ = ["EventFilter", "list_activity", "list_events"]


async def list_events(
    db: AsyncSession, principal: Principal, event_filter: EventFilter, *, cursor: str | None, limit: int
) -> Page[AuditEvent]:
    """Events, newest first; reading them is an event too, of the next page. Raises `InvalidCursor`."""
    page = await audit_events.list_page(db, event_filter, cursor=cursor, limit=limit)
    looked_for = {name: _as_json(value) for name, value in asdict(event_filter).items()}
    await admin_trail.record(
        db, principal, AuditAction.AUDIT_EVENTS_LISTED, details=looked_for | {"count": len(page.items)}
    )
    return page


async def list_activity(
    db: AsyncSession, *, user_id: UUID, cursor: str | None, limit: int
) -> Page[AuditEvent]:
    """What happened to a user's account, newest first; raises `InvalidCursor`."""
    return await audit_events.list_page(db, EventFilter(subject_id=user_id), cursor=cursor, limit=limit)


def _as_json(value: str | UUID | datetime | None) -> str | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
