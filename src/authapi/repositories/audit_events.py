"""Security events."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.enums import AuditAction, Outcome
from authapi.models import AuditEvent
from authapi.repositories.pages import Keyset, Page, list_id, read_page


async def add(db: AsyncSession, event: AuditEvent) -> None:
    """Append an event."""
    db.add(event)
    await db.flush()


async def list_page(
    db: AsyncSession,
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
    """Events, newest first, from `since` on and before `until`; raises `InvalidCursor`."""
    equal = {"action": action, "outcome": outcome, "actor_id": actor_id, "subject_id": subject_id, "ip": ip}
    statement = select(AuditEvent).filter_by(
        **{name: value for name, value in equal.items() if value is not None}
    )
    if since is not None:
        statement = statement.where(AuditEvent.occurred_at >= since)
    if until is not None:
        statement = statement.where(AuditEvent.occurred_at < until)
    keyset = Keyset(
        list_id=list_id("audit_events", since=since, until=until, **equal),
        # UUIDv7: in the order of creation.
        columns=[AuditEvent.id],
        descending=True,
    )
    return await read_page(db, statement, keyset=keyset, cursor=cursor, limit=limit)


async def count_since(
    db: AsyncSession, actions: Collection[AuditAction], *, since: datetime
) -> dict[AuditAction, int]:
    """How often each of the actions happened; reads the events since then."""
    statement = (
        select(AuditEvent.action, func.count())
        .where(AuditEvent.occurred_at >= since, AuditEvent.action.in_(actions))
        .group_by(AuditEvent.action)
    )
    counted = {AuditAction(action): number for action, number in await db.execute(statement)}
    return {action: counted.get(action, 0) for action in actions}
