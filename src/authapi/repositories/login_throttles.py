"""Counters of wrong passwords; every change is atomic, because guesses come in parallel."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import (
    Update,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import ExecutableReturnsRows

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

    Nothing is counted, locked or returned while one of them is blocked: the tries of a stranger who hammers would
    queue up for the account's row, each with a connection of the pool, which its owner needs too. A key whose
    window began before `window_start` begins a new one.
    """
    # Sorted: two logins that share keys lock them in the same order.
    keys = {f"key_{number}": key_hash for number, key_hash in enumerate(sorted(key_hashes))}
    values = {"now": now, "window_start": window_start, "expires_at": expires_at}
    statement = _counting(len(keys), on_postgresql=is_postgresql(db))
    return {row.key_hash: Count(*row) for row in (await db.execute(statement, keys | values)).all()}


async def find_latest_block(
    db: AsyncSession, key_hashes: Sequence[bytes], *, window_start: datetime
) -> datetime | None:
    """Until when the keys whose window began after `window_start` are blocked; locks nothing."""
    values = {"key_hashes": key_hashes, "window_start": window_start}
    latest: datetime | None = await db.scalar(_LATEST_BLOCK, values)
    return latest


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

    The blocks that it set, known by their ends, go with it; keys in `forgetting` begin anew altogether.
    """
    values = {
        "key_hashes": list(key_hashes),
        "unblocked": list(unblocking),
        "forgotten": list(forgetting),
        "now": now,
    }
    await db.execute(_UNCOUNT, values)


async def clear(db: AsyncSession, key_hashes: Sequence[bytes]) -> None:
    """Forget keys."""
    await db.execute(delete(LoginThrottle).where(LoginThrottle.key_hash.in_(key_hashes)))


@cache
def _counting(keys: int, *, on_postgresql: bool) -> ExecutableReturnsRows:
    now, expires_at = bindparam("now", type_=_INSTANT), bindparam("expires_at", type_=_INSTANT)
    window_start = bindparam("window_start", type_=_INSTANT)
    key_hashes = [bindparam(f"key_{number}", type_=_TABLE.c.key_hash.type) for number in range(keys)]
    blocked = _TABLE.alias("blocked")
    is_blocked = exists().where(
        blocked.c.key_hash.in_(key_hashes),
        blocked.c.window_started_at > window_start,
        blocked.c.blocked_until > now,
    )
    # Selected, because those of VALUES would have the statement compiled anew for each login.
    tried = union_all(*(select(key_hash.label("key_hash")) for key_hash in key_hashes)).subquery("tried")
    rows = select(tried.c.key_hash, literal_column("1"), now, expires_at).where(~is_blocked)
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


def _uncounting() -> Update:
    is_forgotten = LoginThrottle.key_hash.in_(bindparam("forgotten", expanding=True))
    # Locked in the order in which `count` does it: two that do so crosswise would deadlock.
    locked = (
        select(LoginThrottle.key_hash)
        .where(LoginThrottle.key_hash.in_(bindparam("key_hashes", expanding=True)))
        .order_by(LoginThrottle.key_hash)
        .with_for_update()
    )
    now = bindparam("now", type_=LoginThrottle.window_started_at.type)
    is_unblocked = LoginThrottle.blocked_until.in_(bindparam("unblocked", expanding=True))
    return (
        update(_TABLE)
        .where(LoginThrottle.key_hash.in_(locked), LoginThrottle.failures > 0)
        .values(
            failures=case((is_forgotten, 0), else_=LoginThrottle.failures - 1),
            window_started_at=case((is_forgotten, now), else_=LoginThrottle.window_started_at),
            blocked_until=case((is_forgotten | is_unblocked, None), else_=LoginThrottle.blocked_until),
        )
    )


_TABLE = table_of(LoginThrottle)
_INSTANT = _TABLE.c.window_started_at.type
# Put together once: doing it at each login takes longer than running them.
_UNCOUNT = _uncounting()
_LATEST_BLOCK = select(func.max(_TABLE.c.blocked_until)).where(
    _TABLE.c.key_hash.in_(bindparam("key_hashes", expanding=True)),
    _TABLE.c.window_started_at > bindparam("window_start"),
)
