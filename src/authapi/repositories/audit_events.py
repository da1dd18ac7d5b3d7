"""Security events."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.enums import AuditAction, Outcome
from authapi.models import AuditEvent
from authapi.models.base import lowest_id, table_of, values_of
from authapi.repositories.pagination import Keyset, Page, list_id, read_page
from authapi.repositories.planning import Count, count

# An event gets its key and its instant at once. But keys never go back: where a clock is set back, they wait for
# it to catch up.
_KEY_LEEWAY = timedelta(minutes=10)


_INSERT = insert(table_of(AuditEvent))


async def add(db: AsyncSession, event: AuditEvent) -> None:
    """Append an event."""
    await db.execute(_INSERT, values_of(event))


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """What narrows a list of events; None leaves it as it is. From `since` on and before `until`."""

    action: AuditAction | None = None
    outcome: Outcome | None = None
    actor_id: UUID | None = None
    subject_id: UUID | None = None
    ip: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_page(
    db: AsyncSession, event_filter: EventFilter, *, cursor: str | None, limit: int
) -> Page[AuditEvent]:
    """Events, newest first; raises `InvalidCursor`."""
    equal = asdict(event_filter)
    since, until = equal.pop("since"), equal.pop("until")
    statement = select(AuditEvent).filter_by(
        **{name: value for name, value in equal.items() if value is not None}
    )
    # Bound the primary key as well: every index ends with it, so the scan starts at the requested time and not at
    # the newest event.
    if since is not None:
        statement = statement.where(AuditEvent.occurred_at >= since, _has_key_from(since))
    if until is not None:
        beyond = lowest_id(until, leeway=_KEY_LEEWAY)
        statement = statement.where(AuditEvent.occurred_at < until, AuditEvent.id <= beyond)
    keyset = Keyset(
        list_id=list_id("audit_events", since=since, until=until, **equal),
        # UUIDv7: in the order of creation.
        columns=[AuditEvent.id],
        descending=True,
    )
    return await read_page(db, statement, keyset=keyset, cursor=cursor, limit=limit)


async def count_since(db: AsyncSession, action: AuditAction, *, since: datetime) -> Count:
    """How often something happened since an instant; many are estimated."""
    statement = select(AuditEvent.id).where(AuditEvent.action == action, AuditEvent.occurred_at >= since)
    return await count(db, statement.where(_has_key_from(since)), estimated_by=statement)


async def list_addresses(
    db: AsyncSession, action: AuditAction, *, subject_id: UUID, since: datetime
) -> Sequence[str]:
    """The addresses from which something happened to a user since an instant, a thousand at most."""
    statement = select(AuditEvent.ip).where(
        AuditEvent.subject_id == subject_id,
        AuditEvent.action == action,
        AuditEvent.ip.is_not(None),
        _has_key_from(since),
    )
    return [ip for ip in await db.scalars(statement.distinct().limit(1000)) if ip is not None]


def _has_key_from(since: datetime) -> ColumnElement[bool]:
    return AuditEvent.id >= lowest_id(since, leeway=-_KEY_LEEWAY)
