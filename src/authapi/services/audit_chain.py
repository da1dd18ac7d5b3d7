"""Seals the audit trail into a chain shortly after the events, and verifies that nothing was touched since.

Sealing is a loop of its own: if each event took its place in its own transaction, logins would queue up
behind one another for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.background import Repeating
from authapi.models import AuditAnchor, AuditEvent
from authapi.repositories import audit_chain
from authapi.runtime import Runtime
from authapi.security.audit_chain import GENESIS, chain_hash, personal_hash

KEY_PURPOSE = "audit-chain"
HEAD, START = "head", "start"
# Nothing else runs in the event loop while a batch is read and hashed: some ten milliseconds.
SEAL_BATCH = 100
VERIFY_BATCH = 2000
# Without a service they become more and more; the exact number tells nobody anything.
UNSEALED_COUNTED = 1000
# A round is seven milliseconds, however few the events; what is not sealed yet can be changed unnoticed.
SEAL_SECONDS = 2.0
SEAL_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """The first event that does not fit: its place in the chain, its id if it exists, and what is wrong."""

    sequence: int
    event_id: UUID | None
    reason: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """How many events were checked, and the first bad one."""

    checked: int
    broken: BrokenLink | None


def sealing_task(runtime: Runtime) -> Repeating:
    """The loop that seals what has come in, on whichever host gets to it first."""

    async def seal_all() -> None:
        async with runtime.database.reading(in_transaction=False) as db:
            if not await audit_chain.has_unsealed(db):
                return
        while True:
            async with runtime.database.unit_of_work() as db:
                if await seal(db, runtime) < SEAL_BATCH:
                    return

    return Repeating("audit-sealing", seal_all, seconds=SEAL_SECONDS, timeout=SEAL_TIMEOUT_SECONDS)


async def seal(db: AsyncSession, runtime: Runtime) -> int:
    """Give the oldest unsealed events their places in the chain; returns how many."""
    await audit_chain.lock(db)
    head = await audit_chain.find_anchor(db, HEAD)
    if head is None:
        head = AuditAnchor(name=HEAD, sequence=0, chain_hash=GENESIS)
    sequence, previous = head.sequence, head.chain_hash
    key = runtime.derived_keys.current(KEY_PURPOSE)
    seals: list[dict[str, Any]] = []
    for event in await audit_chain.list_unsealed(db, limit=SEAL_BATCH):
        sequence += 1
        personal = personal_hash(key, event.id.bytes, _personal_members(event))
        previous = chain_hash(key, previous, _members(event, sequence=sequence, personal=personal))
        seals.append(
            {"id": event.id, "sequence": sequence, "chain_hash": previous, "personal_hash": personal}
        )
    if seals:
        await audit_chain.store_seals(db, seals)
        head.sequence, head.chain_hash = sequence, previous
        await audit_chain.save_anchor(db, head)
    return len(seals)


async def verify(
    db: AsyncSession, runtime: Runtime, *, on_progress: Callable[[int, int], None] | None = None
) -> ChainReport:
    """Walk the chain from its start to its head; `on_progress(checked, total)` is called now and then.

    Finds changed, removed and reordered events. Who can write to the database could still cut off the newest
    ones together with the head: compare with an export that is kept elsewhere.
    """
    start = await audit_chain.find_anchor(db, START)
    head = await audit_chain.find_anchor(db, HEAD)
    sequence, previous = (start.sequence, start.chain_hash) if start else (0, GENESIS)
    first, last = sequence, head.sequence if head else 0
    keys = runtime.derived_keys.all(KEY_PURPOSE)
    while events := await audit_chain.list_sealed(db, after=sequence, limit=VERIFY_BATCH):
        for event in events:
            broken = _check(event, keys, expected=sequence + 1, previous=previous)
            if broken is not None:
                return ChainReport(sequence - first, broken)
            sequence, previous = sequence + 1, event.chain_hash or b""
        db.expunge_all()
        if on_progress is not None:
            on_progress(sequence - first, last - first)
    if sequence != last or (head is not None and previous != head.chain_hash):
        return ChainReport(sequence - first, BrokenLink(sequence + 1, None, "removed"))
    return ChainReport(sequence - first, None)


async def count_unsealed(db: AsyncSession) -> int:
    """How many events have no place in the chain yet, so that nothing shows who changes them; at most 1000."""
    return len(await audit_chain.list_unsealed(db, limit=UNSEALED_COUNTED))


async def anonymise(db: AsyncSession, *, user_id: UUID) -> int:
    """Erase from a user's events what tells who and from where; the chain holds. Returns how many.

    What remains are ids that no longer lead to anybody.
    """
    events = await audit_chain.list_of_user(db, user_id)
    now = clock.utc_now()
    for event in events:
        event.ip = event.user_agent = None
        # What the user did to others is about them: deleting oneself must not hide what one has granted.
        if event.subject_id == user_id:
            event.details = {}
        event.anonymised_at = now
    await db.flush()
    return len(events)


def _check(event: AuditEvent, keys: Sequence[bytes], *, expected: int, previous: bytes) -> BrokenLink | None:
    if event.sequence != expected:
        return BrokenLink(expected, None, "removed")
    personal = event.personal_hash or b""
    members = _members(event, sequence=expected, personal=personal)
    # Keys of earlier secret keys still verify what was sealed under them.
    for key in keys:
        if chain_hash(key, previous, members) == event.chain_hash:
            is_erased = event.anonymised_at is not None
            if is_erased or personal_hash(key, event.id.bytes, _personal_members(event)) == personal:
                return None
    return BrokenLink(expected, event.id, "changed")


def _members(event: AuditEvent, *, sequence: int, personal: bytes) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "id": str(event.id),
        "occurred_at": event.occurred_at.isoformat(),
        "action": event.action,
        "outcome": event.outcome,
        "reason": event.reason,
        "actor_id": event.actor_id and str(event.actor_id),
        "subject_id": event.subject_id and str(event.subject_id),
        "user_session_id": event.user_session_id and str(event.user_session_id),
        "request_id": event.request_id,
        "personal": personal.hex(),
    }


def _personal_members(event: AuditEvent) -> dict[str, Any]:
    return {"ip": event.ip, "user_agent": event.user_agent, "details": event.details}
