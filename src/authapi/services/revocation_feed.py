"""The revocations for services that verify tokens by themselves: read on from a cursor, or wait for news."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from authapi import clock, errors
from authapi.background import happens_within
from authapi.models import Revoked
from authapi.repositories import revocations
from authapi.runtime import Runtime
from authapi.security import base64url
from authapi.security.derived_keys import DerivedKeys

CURSOR_PURPOSE = "revocation-cursor"
READ_TIMEOUT_SECONDS = 2.0

_POSITION_BYTES = 8
_MAC_BYTES = 16


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Revocations since a cursor, the cursor to go on with, and the name of exactly this set."""

    revocations: Sequence[Revoked]
    cursor: str
    fingerprint: str


async def read_feed(
    runtime: Runtime, *, cursor: str | None, known: Collection[str] = (), wait: float = 0
) -> FeedPage:
    """What was revoked since `cursor`, or everything that still matters.

    With `wait` (seconds) the answer is held back until there are entries whose fingerprint is not in `known`:
    an answer may repeat entries of the one before, which are not news. No database connection is held while
    waiting. Every answer follows a read of the database, so an empty one proves that nothing was revoked.
    Raises `InvalidCursor`.
    """
    position = 0 if cursor is None else _open_cursor(runtime.derived_keys, cursor)
    deadline = time.monotonic() + wait
    while True:
        # Taken before the read: a revocation that arrives during it must end the wait below.
        changed = runtime.revocations.changed
        page = await _read(runtime, position)
        is_news = page.revocations and page.fingerprint not in known
        if is_news or time.monotonic() >= deadline:
            return page
        await happens_within(changed, deadline - time.monotonic())


async def _read(runtime: Runtime, position: int) -> FeedPage:
    async with asyncio.timeout(READ_TIMEOUT_SECONDS), runtime.database.reading() as db:
        found = await revocations.read_on(db, position=position, now=clock.utc_now())
        if found.position < position:
            # The database's newest position is below the cursor: it was restored from a backup, or SQLite's last
            # rows were purged. Start over.
            found = await revocations.read_on(db, position=0, now=clock.utc_now())
    return FeedPage(
        found.revocations,
        cursor=_seal_cursor(runtime.derived_keys, found.position),
        fingerprint=_fingerprint(found.revocations),
    )


def _fingerprint(found: Sequence[Revoked]) -> str:
    names = ",".join(f"{row.id}:{row.expires_at.timestamp()}" for row in found)
    return hashlib.sha256(names.encode()).hexdigest()[:32]


def _seal_cursor(keys: DerivedKeys, position: int) -> str:
    raw = position.to_bytes(_POSITION_BYTES)
    return base64url.encode(raw + _mac(keys.current(CURSOR_PURPOSE), raw))


def _open_cursor(keys: DerivedKeys, cursor: str) -> int:
    """The position in a cursor of this installation; raises `InvalidCursor` for anything else."""
    try:
        sealed = base64url.decode(cursor)
    except ValueError:
        raise errors.InvalidCursor from None
    raw, mac = sealed[:_POSITION_BYTES], sealed[_POSITION_BYTES:]
    if not any(hmac.compare_digest(_mac(key, raw), mac) for key in keys.all(CURSOR_PURPOSE)):
        raise errors.InvalidCursor
    return int.from_bytes(raw)


def _mac(key: bytes, raw: bytes) -> bytes:
    return hmac.digest(key, raw, "sha256")[:_MAC_BYTES]
