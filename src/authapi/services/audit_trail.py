"""Audit trail: who looks at what happened."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi.enums import AuditAction, Outcome
from authapi.models import AuditEvent
from authapi.principal import Principal
from authapi.repositories import audit_events
from authapi.repositories.pages import Page
from authapi.services import admin_trail


async def list_events(
    db: AsyncSession,
    principal: Principal,
    *,
    action: AuditAction | None,
    outcome: Outcome | None,
    actor_id: UUID | None,
    subject_id: UUID | None,
    ip: str | None,
    since: datetime | None,
    until: datetime | None,
    cursor: str | None,
    limit: int,
) -> Page[AuditEvent]:
    """Events, newest first; reading them is an event too, of the next page. Raises `InvalidCursor`."""
    page = await audit_events.list_page(
        db,
        action=action,
        outcome=outcome,
        actor_id=actor_id,
        subject_id=subject_id,
        ip=ip,
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )
    await admin_trail.record(
        db,
        principal,
        AuditAction.AUDIT_EVENTS_LISTED,
        details={
            "action": action,
            "outcome": outcome,
            "actor_id": actor_id and str(actor_id),
            "subject_id": subject_id and str(subject_id),
            "ip": ip,
            "since": since and since.isoformat(),
            "until": until and until.isoformat(),
            "count": len(page.items),
        },
    )
    return page
