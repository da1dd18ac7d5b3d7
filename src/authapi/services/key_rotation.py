"""Key rotation: signing keys follow each other by age, by a change of algorithm, and by an operator's order.

Every change is decided and written under one lock, on rows that were read under it: however many hosts find
a key due, one makes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import SigningAlgorithm
from authapi.models import SigningKey as SigningKeyRow
from authapi.repositories import signing_keys
from authapi.runtime import Runtime
from authapi.security.signing_keys import SigningKey
from authapi.services.signing_keys import find_current, find_next, find_shared_key, store_key

# Longer than verifiers keep the JWKS (five minutes) and processes their keys (thirty seconds) together.
PUBLISH_LEAD = timedelta(minutes=10)


class RotationRefused(Exception):
    """The rotation that was asked for makes no sense now; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class DueKey:
    """A key that should be made: why, and when it starts to sign."""

    reason: str
    activates_at: datetime


def find_due_key(runtime: Runtime, rows: Sequence[SigningKeyRow], *, since: datetime) -> DueKey | None:
    """The key that should be made now, going by the stored ones that verify; None most of the time.

    `since` is when this process started. Only keys that are older than it are replaced for their algorithm:
    during a rolling update to another one, old and new processes would take turns replacing each other's.
    """
    if runtime.settings.access_token.algorithm is SigningAlgorithm.HS256:
        return None
    now = clock.utc_now()
    current = find_current(rows, now)
    if current is None and find_shared_key(runtime) is None:
        # Nothing can sign: there is nobody to publish it to first.
        return DueKey("first", now)
    if find_next(rows, now) is not None:
        return None
    reason = "algorithm" if current is None else _find_reason(runtime, current, now=now, since=since)
    return None if reason is None else DueKey(reason, now + PUBLISH_LEAD)


def _find_reason(runtime: Runtime, current: SigningKeyRow, *, now: datetime, since: datetime) -> str | None:
    settings = runtime.settings.access_token
    if current.verifies_until is not None:
        # A process that is configured for HS256 has planned its end.
        return "ending"
    if current.algorithm != settings.algorithm and current.created_at < since:
        return "algorithm"
    return "age" if current.activates_at + settings.key_lifetime <= now else None


def find_ends(
    runtime: Runtime, rows: Sequence[SigningKeyRow], *, since: datetime
) -> dict[SigningKeyRow, datetime]:
    """The stored keys that should end, or end later than planned, and when: the only changes to rows.

    A key verifies until the last token has expired that it can have signed before its successor took over.
    The end is put off when the lifetime of tokens is raised in between. Under HS256 the shared secret is the
    successor of what was there before this process (`since`) started.
    """
    now = clock.utc_now()
    is_shared = runtime.settings.access_token.algorithm is SigningAlgorithm.HS256
    ends: dict[SigningKeyRow, datetime] = {}
    for position, row in enumerate(rows):
        successor = rows[position - 1] if position > 0 else None
        if successor is not None and (successor.activates_at > now or row.verifies_until is None):
            end = _last_expiry(runtime, successor.activates_at)
        elif successor is None and is_shared and row.verifies_until is None and row.created_at < since:
            # Processes that do not know of HS256 yet may go on signing for a while.
            end = _last_expiry(runtime, max(row.activates_at, now) + PUBLISH_LEAD)
        else:
            continue
        if row.verifies_until is None or row.verifies_until < end:
            ends[row] = end
    return ends


async def settle(db: AsyncSession, runtime: Runtime, *, fresh: SigningKey, since: datetime) -> None:
    """Make `fresh` the key that is due, if one still is, and plan the ends of those before it."""
    rows = await _hold_keys(db)
    due = find_due_key(runtime, rows, since=since)
    if due is not None:
        rows.insert(
            0, await store_key(db, runtime, key=fresh, activates_at=due.activates_at, reason=due.reason)
        )
    await _plan_ends(db, runtime, rows, since=since)


async def rotate(db: AsyncSession, runtime: Runtime, *, fresh: SigningKey) -> SigningKeyRow:
    """Publish `fresh` as the next key; raises `RotationRefused` under HS256 or while another one waits."""
    _require_stored_keys(runtime)
    rows = await _hold_keys(db)
    now = clock.utc_now()
    waiting = find_next(rows, now)
    if waiting is not None:
        raise RotationRefused(
            f"the key {waiting.kid} is published already and signs from "
            f"{waiting.activates_at.isoformat(timespec='seconds')} on; rotate again after that"
        )
    can_sign = find_current(rows, now) is not None or find_shared_key(runtime) is not None
    activates_at = now + PUBLISH_LEAD if can_sign else now
    rows.insert(0, await store_key(db, runtime, key=fresh, activates_at=activates_at, reason="requested"))
    await _plan_ends(db, runtime, rows, since=now)
    return rows[0]


async def replace_compromised(db: AsyncSession, runtime: Runtime, *, fresh: SigningKey) -> SigningKeyRow:
    """Let `fresh` sign at once and every other stored key verify no longer, a waiting one included.

    No key is opened, so this also helps when the secret key is lost. Raises `RotationRefused` under HS256.
    """
    _require_stored_keys(runtime)
    # Dated back: hosts whose clocks are behind must not wait with it.
    at = clock.utc_now() - clock.SKEW_MARGIN
    for row in await _hold_keys(db):
        row.verifies_until = at
    return await store_key(db, runtime, key=fresh, activates_at=at, reason="compromised")


async def _hold_keys(db: AsyncSession) -> list[SigningKeyRow]:
    await signing_keys.lock(db)
    return await signing_keys.list_verifying(db, now=clock.utc_now())


async def _plan_ends(
    db: AsyncSession, runtime: Runtime, rows: Sequence[SigningKeyRow], *, since: datetime
) -> None:
    for row, end in find_ends(runtime, rows, since=since).items():
        row.verifies_until = end
    await db.flush()


def _last_expiry(runtime: Runtime, last_issue: datetime) -> datetime:
    return last_issue + runtime.settings.access_token.lifetime + clock.SKEW_MARGIN


def _require_stored_keys(runtime: Runtime) -> None:
    if runtime.settings.access_token.algorithm is SigningAlgorithm.HS256:
        raise RotationRefused(
            "HS256 signs with AUTHAPI_ACCESS_TOKEN__SECRET, so there is no key to rotate; change that setting"
        )
