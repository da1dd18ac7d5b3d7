"""All holders of a role, in parts of ten thousand: a role that everybody has must not run into a timeout."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import User, UserSession, user_roles
from authapi.repositories.user_sessions import is_live

PART = 10_000


@dataclass(frozen=True, slots=True)
class Part:
    """The holders whose ids come after `after`, up to `last`; None has no bound."""

    role_id: UUID
    after: UUID | None
    last: UUID | None

    @property
    def user_ids(self) -> Select[Any]:
        """The ids, for an IN."""
        statement = select(user_roles.c.user_id).where(user_roles.c.role_id == self.role_id)
        if self.after is not None:
            statement = statement.where(user_roles.c.user_id > self.after)
        return statement if self.last is None else statement.where(user_roles.c.user_id <= self.last)


async def split(db: AsyncSession, role_id: UUID) -> list[Part]:
    """The holders of a role in parts, in the order of their ids; at least one part."""
    parts = []
    after = None
    while True:
        rest = Part(role_id, after, None).user_ids
        last = await db.scalar(rest.order_by(user_roles.c.user_id).offset(PART - 1).limit(1))
        parts.append(Part(role_id, after, last))
        if last is None:
            return parts
        after = last


async def hold(db: AsyncSession, part: Part) -> None:
    """Make logins and changes of the holders wait until the transaction ends.

    Call it before `roles.hold_rights`, as one locks a single user.
    """
    held = select(User.id).where(User.id.in_(part.user_ids)).order_by(User.id)
    await db.execute(select(func.count()).select_from(held.with_for_update(key_share=True).subquery()))


async def hold_live_sessions(db: AsyncSession, part: Part, *, now: datetime) -> datetime | None:
    """Wait for refreshes that are under way, and hold up later ones until the commit.

    Returns when any of the sessions was last given a token. The rows are locked in the order of their ids, as
    everywhere, so that two transactions cannot deadlock.
    """
    held = (
        select(UserSession.last_used_at)
        .where(UserSession.user_id.in_(part.user_ids), *is_live(now))
        .order_by(UserSession.id)
        .with_for_update(key_share=True)
        .subquery()
    )
    last_used_at: datetime | None = await db.scalar(select(func.max(held.c.last_used_at)))
    return last_used_at


async def last_void(db: AsyncSession, part: Part) -> datetime | None:
    """The latest instant up to which the access tokens of any holder are void already."""
    return await db.scalar(select(func.max(User.tokens_not_before)).where(User.id.in_(part.user_ids)))


async def void_tokens(
    db: AsyncSession, part: Part, *, not_before: datetime, used_since: datetime
) -> Sequence[UUID]:
    """Set `tokens_not_before` of the holders with a session that was used since; returns who they are."""
    in_use = select(UserSession.id).where(
        UserSession.user_id == User.id, UserSession.last_used_at > used_since
    )
    statement = (
        update(User)
        .where(User.id.in_(part.user_ids), in_use.exists())
        .values(tokens_not_before=not_before)
        .returning(User.id)
    )
    return (await db.scalars(statement, execution_options={"synchronize_session": False})).all()
