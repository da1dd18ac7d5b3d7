"""Counters of wrong passwords; every change is atomic, because guesses come in parallel."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Update,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import ExecutableReturnsRows
from sqlalchemy.types import TypeEngine

from authapi.models import LoginThrottle
from authapi.models.base import table_of
from authapi.repositories.dialect import is_postgresql


@dataclass(frozen=True, slots=True)
class Count:
    """The state of a key after a try was counted."""

    key_hash: bytes
    failures: int
    blocked_until: datetime | None


async def count_unless_blocked(
    db: AsyncSession,
    key_hashes: Sequence[bytes],
    *,
    now: datetime,
    window_start: datetime,
    expires_at: datetime,
) -> dict[bytes, Count]:
    """Count one try for each key and return the new counts, locked until the transaction ends.

    Nothing is counted, locked or returned while one of them is blocked. Otherwise an attacker's tries would queue
    up for the account's row, each holding a connection of the pool, and the owner could get none. A key whose
    window began before `window_start` begins a new one.
    """
    values = {"now": now, "window_start": window_start, "expires_at": expires_at}
    statement = _counting(len(key_hashes), on_postgresql=is_postgresql(db))
    counted = await db.execute(statement, _numbered("key", key_hashes) | values)
    return {row.key_hash: Count(*row) for row in counted}


async def find_latest_block(
    db: AsyncSession, key_hashes: Sequence[bytes], *, window_start: datetime
) -> datetime | None:
    """Until when the keys whose window began after `window_start` are blocked; locks nothing."""
    return await db.scalar(
        select(func.max(LoginThrottle.blocked_until)).where(
            LoginThrottle.key_hash.in_(key_hashes), LoginThrottle.window_started_at > window_start
        )
    )


async def block(db: AsyncSession, key_hash: bytes, *, until: datetime) -> None:
    """Refuse tries of a key until then."""
    await db.execute(
        update(LoginThrottle).where(LoginThrottle.key_hash == key_hash).values(blocked_until=until)
    )


async def uncount(
    db: AsyncSession,
    key_hashes: Sequence[bytes],
    *,
    now: datetime,
    unblocking: Sequence[datetime],
    forgetting: Sequence[bytes],
) -> None:
    """Take back one try for each key: it was not a failure after all.

    Blocks that the try set, recognised by the instants at which they end, are lifted; the counters of keys in
    `forgetting` go back to zero.
    """
    statement = _uncounting(len(key_hashes), len(unblocking), len(forgetting))
    values = (
        _numbered("key", key_hashes) | _numbered("unblocked", unblocking) | _numbered("forgotten", forgetting)
    )
    await db.execute(statement, values | {"now": now})


async def clear(db: AsyncSession, key_hashes: Sequence[bytes]) -> None:
    """Forget keys."""
    await db.execute(delete(LoginThrottle).where(LoginThrottle.key_hash.in_(key_hashes)))


def _numbered(name: str, values: Sequence[Any]) -> dict[str, Any]:
    return {f"{name}_{number}": value for number, value in enumerate(values)}


def _parameters(name: str, count: int, of: TypeEngine[Any]) -> list[BindParameter[Any]]:
    # One by one: a list as one parameter would be written into the statement at each execution.
    return [bindparam(f"{name}_{number}", type_=of) for number in range(count)]


@cache
def _counting(keys: int, *, on_postgresql: bool) -> ExecutableReturnsRows:
    now, expires_at = bindparam("now", type_=_INSTANT), bindparam("expires_at", type_=_INSTANT)
    window_start = bindparam("window_start", type_=_INSTANT)
    key_hashes = _parameters("key", keys, _KEY_HASH)
    blocked = _TABLE.alias("blocked")
    is_blocked = exists().where(
        blocked.c.key_hash.in_(key_hashes),
        blocked.c.window_started_at > window_start,
        blocked.c.blocked_until > now,
    )
    # SELECTs and not VALUES, which SQLAlchemy would compile anew for each login. Sorted by key, the order in which
    # the rows are locked, so that two transactions cannot deadlock.
    tried = union_all(*(select(key_hash.label("key_hash")) for key_hash in key_hashes)).subquery("tried")
    rows = select(tried.c.key_hash, literal_column("1"), now, expires_at).where(~is_blocked)
    rows = rows.order_by(tried.c.key_hash)
    fresh = (postgresql.insert if on_postgresql else sqlite.insert)(_TABLE).from_select(
        ["key_hash", "failures", "window_started_at", "expires_at"], rows
    )
    is_over = _TABLE.c.window_started_at <= window_start
    counted = fresh.on_conflict_do_update(
        index_elements=[_TABLE.c.key_hash],
        set_={
            "failures": case((is_over, 1), else_=_TABLE.c.failures + 1),
            "window_started_at": case((is_over, now), else_=_TABLE.c.window_started_at),
            "blocked_until": case((is_over, None), else_=_TABLE.c.blocked_until),
            "expires_at": expires_at,
        },
    )
    return counted.returning(_TABLE.c.key_hash, _TABLE.c.failures, _TABLE.c.blocked_until)


@cache
def _uncounting(keys: int, unblocking: int, forgetting: int) -> Update:
    forgotten = _parameters("forgotten", forgetting, _KEY_HASH)
    is_forgotten = or_(false(), *(_TABLE.c.key_hash == key_hash for key_hash in forgotten))
    # Locked in the same order as when they are counted, so that two transactions cannot deadlock.
    locked = (
        select(_TABLE.c.key_hash)
        .where(_TABLE.c.key_hash.in_(_parameters("key", keys, _KEY_HASH)))
        .order_by(_TABLE.c.key_hash)
        .with_for_update()
    )
    now = bindparam("now", type_=_INSTANT)
    unblocked = _parameters("unblocked", unblocking, _INSTANT)
    is_unblocked = or_(false(), *(_TABLE.c.blocked_until == until for until in unblocked))
    return (
        update(_TABLE)
        .where(_TABLE.c.key_hash.in_(locked), _TABLE.c.failures > 0)
        .values(
            failures=case((is_forgotten, 0), else_=_TABLE.c.failures - 1),
            window_started_at=case((is_forgotten, now), else_=_TABLE.c.window_started_at),
            blocked_until=case((is_forgotten | is_unblocked, None), else_=_TABLE.c.blocked_until),
        )
    )


_TABLE = table_of(LoginThrottle)
_KEY_HASH, _INSTANT = _TABLE.c.key_hash.type, _TABLE.c.window_started_at.type
