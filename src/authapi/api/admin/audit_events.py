"""The audit trail."""

from typing import Annotated

from fastapi import Query, Request

from authapi import errors
from authapi.api.admin.guards import READ_ERRORS, RequireAuditRead, admin_router
from authapi.api.dependencies import DbSession
from authapi.rate_limit import limits
from authapi.schemas.audit_events import AuditEventQuery, AuditEventResponse
from authapi.schemas.envelope import Page, PagedResponse, error_responses
from authapi.services import audit_trail
from authapi.services.audit_trail import EventFilter

router = admin_router("/audit-events")


@router.get("", summary="Read the audit trail", responses=error_responses(*READ_ERRORS, errors.InvalidCursor))
@limits.admin
async def list_audit_events(
    request: Request, query: Annotated[AuditEventQuery, Query()], db: DbSession, caller: RequireAuditRead
) -> PagedResponse[AuditEventResponse]:
    """Read what happened, the newest first; the filters narrow each other."""
    event_filter = EventFilter(
        action=query.action,
        outcome=query.outcome,
        actor_id=query.actor_id,
        subject_id=query.subject_id,
        ip=None if query.ip is None else str(query.ip),
        since=query.since,
        until=query.until,
    )
    page = await audit_trail.list_events(db, caller, event_filter, cursor=query.cursor, limit=query.limit)
    return PagedResponse(
        message="This is what happened.",
        data=[AuditEventResponse.model_validate(event) for event in page.items],
        page=Page(next_cursor=page.next_cursor, limit=page.limit),
    )
