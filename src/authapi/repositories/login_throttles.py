"""Counters of wrong passwords; every change is atomic, because guesses come in parallel."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import Table, Update, bindparam, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import LoginThrottle
from authapi.repositories.dialect import is_postgresql


@dataclass(frozen=True, slots=True)
class Count:
    """The state of a key after a try was counted."""

    key_hash: bytes
    failures: int
    blocked_until: datetime | None


async def count(
    db: AsyncSession,
    key_hashes: Sequence[bytes],
    *,
    now: datetime,
    window_start: datetime,
    expires_at: datetime,
) -> dict[bytes, Count]:
    """Count one try for each key and return the new counts, locked until the transaction ends.

    A key whose window began before `window_start` begins a new one.
    """
    insert = postgresql.insert if is_postgresql(db) else sqlite.insert
    # Sorted: two logins that share keys lock them in the same order.
    rows = [
        {
            "key_hash": key_hash,
            "failures": 1,
            "window_started_at": now,
            "blocked_until": None,
            "expires_at": expires_at,
        }
        for key_hash in sorted(key_hashes)
    ]
    # The rows as parameters: as part of the statement they would have it compiled anew for each login.
    fresh = insert(LoginThrottle)
    is_over = LoginThrottle.window_started_at <= window_start
    statement = fresh.on_conflict_do_update(
        index_elements=[LoginThrottle.key_hash],
        set_={
            "failures": case((is_over, 1), else_=LoginThrottle.failures + 1),
            "window_started_at": case((is_over, now), else_=LoginThrottle.window_started_at),
            "blocked_until": case((is_over, None), else_=LoginThrottle.blocked_until),
            "expires_at": expires_at,
        },
    ).returning(LoginThrottle.key_hash, LoginThrottle.failures, LoginThrottle.blocked_until)
    return {row.key_hash: Count(*row) for row in (await db.execute(statement, rows)).all()}


async def find_latest_block(
    db: AsyncSession, key_hashes: Sequence[bytes], *, window_start: datetime
) -> datetime | None:
    """Until when the keys whose window began after `window_start` are blocked; locks nothing."""
    return await db.scalar(_LATEST_BLOCK, {"key_hashes": key_hashes, "window_start": window_start})


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


def _uncounting() -> Update:
    throttles = cast(Table, LoginThrottle.__table__)
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
        update(throttles)
        .where(LoginThrottle.key_hash.in_(locked), LoginThrottle.failures > 0)
        .values(
            failures=case((is_forgotten, 0), else_=LoginThrottle.failures - 1),
            window_started_at=case((is_forgotten, now), else_=LoginThrottle.window_started_at),
            blocked_until=case((is_forgotten | is_unblocked, None), else_=LoginThrottle.blocked_until),
        )
    )


# Put together once: doing it at each login takes as long as running them.
_UNCOUNT = _uncounting()
_LATEST_BLOCK = select(func.max(LoginThrottle.blocked_until)).where(
    LoginThrottle.key_hash.in_(bindparam("key_hashes", expanding=True)),
    LoginThrottle.window_started_at > bindparam("window_start"),
)
