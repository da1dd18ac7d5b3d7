"""Security events."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import AuditEvent


async def add(db: AsyncSession, event: AuditEvent) -> None:
    """Append an event."""
    db.add(event)
    await db.flush()
