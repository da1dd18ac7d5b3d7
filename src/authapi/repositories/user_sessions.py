"""Logins on devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    String,
    Update,
    Uuid,
    bindparam,
    case,
    column,
    func,
    insert,
    select,
    update,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import ExecutableReturnsRows

from authapi.enums import RevocationReason
from authapi.models import User, UserSession
from authapi.models.base import table_of, values_of
from authapi.repositories.dialect import split_list

PASSWORD_AMR = "pwd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A request to move a session from `generation` to the next, made by a client from an address."""

    user_session_id: UUID
    generation: int
    client_id: str
    ip: str | None


@dataclass(frozen=True, slots=True)
class RotatedSession:
    """A session at its next generation, and its owner with their rights as read after the rotation."""

    user_session: UserSession
    owner: User


async def add(db: AsyncSession, user_session: UserSession) -> None:
    """Insert a session; the object stays apart from the database's."""
    await db.execute(_INSERT, values_of(user_session))


async def find_by_id(db: AsyncSession, user_session_id: UUID) -> UserSession | None:
    """The session as the database has it now, ended or not."""
    statement = select(UserSession).where(UserSession.id == user_session_id)
    return await db.scalar(statement.execution_options(populate_existing=True))


async def find_live(
    db: AsyncSession, user_session_id: UUID, *, user_id: UUID, now: datetime
) -> UserSession | None:
    """A user's own session that has neither ended nor expired."""
    return await db.scalar(
        select(UserSession).where(
            UserSession.id == user_session_id, UserSession.user_id == user_id, *is_live(now)
        )
    )


async def list_live(db: AsyncSession, *, user_id: UUID, now: datetime) -> list[UserSession]:
    """A user's sessions that have neither ended nor expired, the one used last first."""
    return list(
        await db.scalars(
            select(UserSession)
            .where(UserSession.user_id == user_id, *is_live(now))
            .order_by(UserSession.last_used_at.desc(), UserSession.id.desc())
        )
    )


async def rotate(
    db: AsyncSession, rotation: Rotation, *, now: datetime, idle_expires_at: datetime
) -> UserSession | None:
    """Move a live session from its generation to the next; None if it is not at that generation.

    Ownership is not checked; the caller compares the returned session's user.

    One conditional UPDATE: of any number of concurrent callers exactly one gets the row. `last_used_at` never
    goes back, even if the host that rotated before has a clock that is ahead.
    """
    values = {
        "session_id": rotation.user_session_id,
        "from_generation": rotation.generation,
        "now": now,
        "new_idle_expires_at": idle_expires_at,
        "new_ip": rotation.ip,
    }
    found = await db.execute(_ROTATE, values, execution_options={"populate_existing": True})
    return found.scalar_one_or_none()


async def rotate_all(
    db: AsyncSession, rotations: Sequence[Rotation], *, now: datetime, idle_expires_at: datetime
) -> Sequence[UserSession]:
    """The same for several sessions, for PostgreSQL; returns those that have moved on.

    Left out are those of another client or of a user who is not active, and those that are locked: to wait for
    one would keep the others waiting, and two calls that wait for each other's rows would deadlock.
    """
    values = {
        "session_ids": ",".join(str(rotation.user_session_id) for rotation in rotations),
        "generations": ",".join(str(rotation.generation) for rotation in rotations),
        "client_ids": ",".join(rotation.client_id for rotation in rotations),
        "ips": ",".join(rotation.ip or "" for rotation in rotations),
        "now": now,
        "new_idle_expires_at": idle_expires_at,
    }
    return (await db.scalars(_ROTATE_ALL, values)).all()


async def revoke(
    db: AsyncSession,
    *,
    user_id: UUID,
    at: datetime,
    reason: RevocationReason,
    expired_before: datetime,
    only: UUID | None = None,
    sparing: UUID | None = None,
) -> Sequence[UUID]:
    """End the user's sessions that have not been ended; returns the ids of those that this call ended.

    Those that expired before `expired_before` are left as they are.
    """
    conditions = [
        UserSession.user_id == user_id,
        UserSession.revoked_at.is_(None),
        UserSession.expires_at > expired_before,
    ]
    if only is not None:
        conditions.append(UserSession.id == only)
    if sparing is not None:
        conditions.append(UserSession.id != sparing)
    statement = _update_in_order(*conditions)
    values = {"revoked_at": at, "revoked_reason": reason, "updated_at": at}
    return (await db.scalars(statement.values(values).returning(UserSession.id))).all()


async def oldest_beyond(db: AsyncSession, *, user_id: UUID, keep: int, now: datetime) -> Sequence[UUID]:
    """The ids of the live sessions that are in excess of `keep`, those used longest ago."""
    return (
        await db.scalars(
            select(UserSession.id)
            .where(UserSession.user_id == user_id, *is_live(now))
            .order_by(UserSession.last_used_at.desc(), UserSession.id.desc())
            .offset(keep)
        )
    ).all()


async def hold_live(db: AsyncSession, *, user_id: UUID, now: datetime) -> datetime | None:
    """Wait for refreshes of the user's sessions that are under way, and hold up later ones until the commit.

    Returns when a session of the user was last given a token.
    """
    statement = (
        _update_in_order(UserSession.user_id == user_id, *is_live(now))
        .values(updated_at=now)
        .returning(UserSession.last_used_at)
    )
    return max((await db.scalars(statement)).all(), default=None)


async def forget_second_factor(db: AsyncSession, *, user_id: UUID, at: datetime) -> None:
    """Make the user's sessions count as opened by the password alone (RFC 8176)."""
    statement = _update_in_order(UserSession.user_id == user_id, UserSession.revoked_at.is_(None))
    await db.execute(statement.values(amr=[PASSWORD_AMR], updated_at=at))


def _update_in_order(*conditions: ColumnElement[bool]) -> Update:
    """An UPDATE that locks its rows in the order of their ids, so that two of them cannot deadlock."""
    ids = select(UserSession.id).where(*conditions).order_by(UserSession.id)
    return update(UserSession).where(UserSession.id.in_(ids.with_for_update(key_share=True)), *conditions)


def is_live(now: datetime | BindParameter[datetime]) -> tuple[ColumnElement[bool], ...]:
    """The conditions for a session that has neither ended nor expired."""
    return (
        UserSession.revoked_at.is_(None),
        UserSession.expires_at > now,
        UserSession.idle_expires_at > now,
    )


_SESSIONS = table_of(UserSession)
# For statements that are put together once.
NOW: BindParameter[datetime] = bindparam("now", type_=UserSession.last_used_at.type)


def _rotated(ip: ColumnElement[str | None]) -> dict[str, ColumnElement[Any]]:
    return {
        "generation": UserSession.generation + 1,
        "rotated_at": NOW,
        "last_used_at": case((UserSession.last_used_at > NOW, UserSession.last_used_at), else_=NOW),
        "idle_expires_at": bindparam("new_idle_expires_at"),
        "ip": ip,
        "updated_at": NOW,
    }


def _rotation() -> ExecutableReturnsRows:
    changed = (
        update(_SESSIONS)
        .where(
            UserSession.id == bindparam("session_id"),
            UserSession.generation == bindparam("from_generation"),
            *is_live(NOW),
        )
        .values(_rotated(bindparam("new_ip")))
        .returning(*_SESSIONS.columns)
    )
    return select(UserSession).from_statement(changed)


def _rotation_of_all() -> ExecutableReturnsRows:
    asked = (
        func.unnest(
            sql_cast(split_list("session_ids"), ARRAY(Uuid)),
            sql_cast(split_list("generations"), ARRAY(BigInteger)),
            split_list("client_ids"),
            split_list("ips"),
        )
        .table_valued(
            column("id", Uuid),
            column("generation", BigInteger),
            column("client_id", String),
            column("ip", String),
        )
        .render_derived("asked")
    )
    free = (
        select(UserSession.id, asked.c.ip)
        .join(asked, asked.c.id == UserSession.id)
        .join(User, User.id == UserSession.user_id)
        .where(
            User.disabled_at.is_(None),
            User.deleted_at.is_(None),
            UserSession.generation == asked.c.generation,
            UserSession.client_id == asked.c.client_id,
            *is_live(NOW),
        )
        .with_for_update(of=UserSession, key_share=True, skip_locked=True)
        .cte("free")
    )
    changed = (
        update(_SESSIONS)
        .where(UserSession.id == free.c.id)
        .values(_rotated(free.c.ip))
        .returning(*_SESSIONS.columns)
    )
    return select(UserSession).from_statement(changed)


# On the table: the unit of work would take longer for a row than the database does, at each login.
_INSERT = insert(_SESSIONS)
# Put together once: doing it at each refresh takes longer than all that the database does.
_ROTATE = _rotation()
_ROTATE_ALL = _rotation_of_all()
