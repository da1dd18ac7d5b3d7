"""Records security events in the transaction of what they speak of."""

from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import request_context
from authapi.enums import AuditAction, Outcome
from authapi.models import AuditEvent
from authapi.repositories import audit_events

logger = structlog.stdlib.get_logger("authapi.audit")


async def record(
    db: AsyncSession,
    action: AuditAction,
    *,
    outcome: Outcome = Outcome.SUCCESS,
    reason: str | None = None,
    actor_id: UUID | None = None,
    subject_id: UUID | None = None,
    user_session_id: UUID | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Write one event, with address, user agent and request id of the current request.

    `actor_id` did it, `subject_id` is the user it was done to. `details` must hold no secret: it is kept as
    long as the trail (ASVS 16.2.5). The same event goes to the log as one structured line.
    """
    context = request_context.current()
    await audit_events.add(
        db,
        AuditEvent(
            action=action,
            outcome=outcome,
            reason=reason,
            actor_id=actor_id,
            subject_id=subject_id,
            user_session_id=user_session_id,
            ip=context.ip,
            user_agent=context.user_agent,
            request_id=context.request_id,
            details=details or {},
        ),
    )
    logger.info(
        action.value,
        outcome=outcome.value,
        reason=reason,
        actor_id=actor_id and str(actor_id),
        subject_id=subject_id and str(subject_id),
        user_session_id=user_session_id and str(user_session_id),
    )
