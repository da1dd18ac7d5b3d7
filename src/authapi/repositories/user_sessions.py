"""Logins on devices."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import UserSession


async def add(db: AsyncSession, user_session: UserSession) -> None:
    """Insert a session and fill in its key."""
    db.add(user_session)
    await db.flush()
