"""Puts what administrators do on record, reading included."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi.enums import AuditAction
from authapi.principal import Principal
from authapi.services import audit


async def record(
    db: AsyncSession,
    principal: Principal,
    action: AuditAction,
    *,
    subject_id: UUID | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Write an event with the administrator as the actor.

    `details` may hold names of roles, permissions and fields; never what a field holds or what was searched
    for.
    """
    await audit.record(
        db,
        action,
        actor_id=principal.user_id,
        subject_id=subject_id,
        user_session_id=principal.user_session_id,
        details=details,
    )
