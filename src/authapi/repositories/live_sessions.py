"""Whether what a token says still holds: its session with its user, in one look."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import User, UserSession
from authapi.repositories.user_sessions import is_live


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that has neither ended nor expired, of a user who is active."""

    user_session: UserSession
    email: str
    tokens_not_before: datetime | None


async def find(db: AsyncSession, user_session_id: UUID, *, now: datetime) -> LiveSession | None:
    """The session as the database has it now, if it and its user's account are live."""
    statement = (
        select(UserSession, User.email, User.tokens_not_before)
        .join(User, User.id == UserSession.user_id)
        .where(
            UserSession.id == user_session_id,
            *is_live(now),
            User.disabled_at.is_(None),
            User.deleted_at.is_(None),
        )
    )
    row = (await db.execute(statement, execution_options={"populate_existing": True})).one_or_none()
    return None if row is None else LiveSession(*row)
