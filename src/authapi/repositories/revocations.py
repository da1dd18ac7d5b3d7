"""Revocations, and reading on in them without missing what committed late."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Executable, bindparam, cast, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.types import Text

from authapi.models import Revocation, Revoked
from authapi.repositories.dialect import is_postgresql


@dataclass(frozen=True, slots=True)
class RevocationPage:
    """Revocations, and the position from which to read on."""

    revocations: Sequence[Revoked]
    position: int


async def add_sessions(
    db: AsyncSession, user_session_ids: Sequence[UUID], *, expires_at: datetime, created_at: datetime
) -> None:
    """Publish the end of sessions."""
    shared = {"expires_at": expires_at, "created_at": created_at}
    await _insert(db, [{"user_session_id": id} | shared for id in user_session_ids])


async def add_subject(
    db: AsyncSession, subject: str, *, not_before: datetime, expires_at: datetime, created_at: datetime
) -> None:
    """Publish that tokens of a user or service client issued up to `not_before` are void."""
    await add_subjects(db, [subject], not_before=not_before, expires_at=expires_at, created_at=created_at)


async def add_subjects(
    db: AsyncSession,
    subjects: Sequence[str],
    *,
    not_before: datetime,
    expires_at: datetime,
    created_at: datetime,
) -> None:
    """The same for many of them, in one go."""
    shared = {"not_before": not_before, "expires_at": expires_at, "created_at": created_at}
    await _insert(db, [{"subject": subject} | shared for subject in subjects])


async def read_on(db: AsyncSession | AsyncConnection, *, position: int, now: datetime) -> RevocationPage:
    """Every revocation that was committed since `position` and still matters; 0 reads them all.

    On PostgreSQL a row can commit after a row with a higher id. The position is therefore the oldest
    transaction that was still running: what such a transaction writes is read by the next call, at the price
    of reading some rows twice.
    """
    statement = _READ_ON_POSTGRESQL if is_postgresql(db) else _READ_ON_SQLITE
    rows = (await db.execute(statement, {"position": position, "now": now})).all()
    # A row without an id tells the position only.
    return RevocationPage([Revoked(*row[1:]) for row in rows if row.id is not None], rows[0].horizon)


async def _insert(db: AsyncSession, rows: list[dict[str, Any]]) -> None:
    if rows:
        transaction_id = (
            _as_bigint(func.pg_current_xact_id()) if is_postgresql(db) else literal(0, BigInteger)
        )
        await db.execute(insert(Revocation).values(transaction_id=transaction_id), rows)


def _as_bigint(expression: ColumnElement[Any]) -> ColumnElement[int]:
    # xid8 has no direct cast to bigint.
    return cast(cast(expression, Text), BigInteger)


def _reading_on(horizon: ColumnElement[int], is_new: ColumnElement[bool]) -> Executable:
    is_current = Revocation.expires_at > bindparam("now")
    return (
        select(horizon.label("horizon"), *(getattr(Revocation, name) for name in Revoked._fields))
        .select_from(select(literal(1).label("one")).subquery())
        .join(Revocation, is_new & is_current, isouter=True)
        .order_by(Revocation.id)
    )


# Put together once: every process asks four times a second.
_POSITION = bindparam("position", type_=BigInteger)
_READ_ON_POSTGRESQL = _reading_on(
    _as_bigint(func.pg_snapshot_xmin(func.pg_current_snapshot())), Revocation.transaction_id >= _POSITION
)
_READ_ON_SQLITE = _reading_on(
    select(func.coalesce(func.max(Revocation.id), 0)).scalar_subquery(), Revocation.id > _POSITION
)
