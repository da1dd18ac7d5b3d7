"""Housekeeping: rows that no longer matter go, in small batches, on one host at a time."""

from collections.abc import Mapping
from datetime import timedelta

from authapi import clock
from authapi.background import Repeating
from authapi.repositories import housekeeping
from authapi.runtime import Runtime
from authapi.services import account_deletion

BATCH = 500
EVERY = timedelta(hours=1)
# How long ended sessions, tokens and the like stay, so that an incident can be looked into.
KEEP_ENDED = timedelta(days=30)
TIMEOUT = timedelta(minutes=10)


def housekeeping_task(runtime: Runtime) -> Repeating:
    """The loop that purges once an hour."""

    async def work() -> None:
        await purge(runtime)

    return Repeating("housekeeping", work, seconds=EVERY.total_seconds(), timeout=TIMEOUT.total_seconds())


async def purge(runtime: Runtime) -> Mapping[str, int]:
    """Remove what has expired; returns how many rows of each kind. Another host's purge is left to finish.

    Each batch is a transaction of its own, so that no lock is held for long (ASVS 14.2.7).
    """
    removed: dict[str, int] = {}
    now = clock.utc_now()
    cutoffs = {
        "one_time_tokens": now - KEEP_ENDED,
        "user_sessions": now - KEEP_ENDED,
        "revocations": now,
        "mail_messages": now - KEEP_ENDED,
        "login_throttles": now,
        "known_devices": now,
        "signing_keys": now - KEEP_ENDED,
        "audit_events": now - runtime.settings.audit.retention,
    }
    for table, before in cutoffs.items():
        removed[table] = 0
        while True:
            async with runtime.database.unit_of_work() as db:
                if not await housekeeping.try_lock(db):
                    return removed
                count = await housekeeping.purge(db, table, before=before, limit=BATCH)
            removed[table] += count
            if count < BATCH:
                break
    removed["users"] = 0
    while True:
        async with runtime.database.unit_of_work() as db:
            if not await housekeeping.try_lock(db):
                return removed
            count = await account_deletion.erase_due(db, runtime, limit=BATCH // 10)
        removed["users"] += count
        if count < BATCH // 10:
            return removed
