"""The chain over the audit trail: untouched it fits, and whatever was done to it shows."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, insert, select, update

from authapi import clock
from authapi.enums import AuditAction, Outcome
from authapi.models import AuditAnchor, AuditEvent
from authapi.models.base import new_id
from authapi.runtime import Runtime
from authapi.security.derived_keys import DerivedKeys
from authapi.services import audit, audit_chain
from authapi.services.audit_chain import ChainReport

USER = UUID(int=1)


async def record(runtime: Runtime, count: int) -> None:
    async with runtime.database.unit_of_work() as db:
        for number in range(count):
            await audit.record(
                db,
                AuditAction.USER_LOGIN_FAILED,
                outcome=Outcome.FAILURE,
                reason="wrong_password",
                subject_id=USER,
                details={"number": number, "text": "ünï ✓"},
            )


async def seal(runtime: Runtime) -> None:
    while True:
        async with runtime.database.unit_of_work() as db:
            if await audit_chain.seal(db, runtime) == 0:
                return


async def verify(runtime: Runtime) -> ChainReport:
    async with runtime.database.reading() as db:
        return await audit_chain.verify(db, runtime)


@pytest.fixture
async def sealed(runtime: Runtime) -> Runtime:
    """A trail of twenty sealed events."""
    await record(runtime, 20)
    await seal(runtime)
    return runtime


class TestVerify:
    async def test_an_empty_trail(self, runtime: Runtime) -> None:
        assert await verify(runtime) == ChainReport(0, None)

    async def test_what_is_not_sealed_yet_is_counted(self, sealed: Runtime) -> None:
        await record(sealed, 3)
        async with sealed.database.reading() as db:
            assert await audit_chain.count_unsealed(db) == 3

    async def test_an_untouched_trail_grows(self, sealed: Runtime) -> None:
        assert await verify(sealed) == ChainReport(20, None)
        await record(sealed, 5)
        await seal(sealed)
        assert await verify(sealed) == ChainReport(25, None)

    @pytest.mark.parametrize(
        "change",
        [
            {"outcome": "success"},
            {"action": "user.login.succeeded"},
            {"reason": None},
            {"actor_id": USER},
            {"subject_id": None},
            {"ip": "192.0.2.1"},
            {"user_agent": "x"},
            {"details": {}},
            {"occurred_at": clock.utc_now() - timedelta(days=1)},
            {"chain_hash": b"x" * 32},
            {"personal_hash": b"x" * 32},
        ],
        ids=lambda change: next(iter(change)),
    )
    async def test_a_changed_event_is_named(self, sealed: Runtime, change: dict[str, object]) -> None:
        async with sealed.database.unit_of_work() as db:
            await db.execute(update(AuditEvent).where(AuditEvent.sequence == 7).values(change))
            event_id = await db.scalar(select(AuditEvent.id).where(AuditEvent.sequence == 7))
        report = await verify(sealed)
        assert report.checked == 6
        assert report.broken is not None
        assert (report.broken.sequence, report.broken.event_id) == (7, event_id)
        assert report.broken.reason == "changed"

    @pytest.mark.parametrize("place", [1, 7, 20])
    async def test_a_removed_event_leaves_a_gap(self, sealed: Runtime, place: int) -> None:
        async with sealed.database.unit_of_work() as db:
            await db.execute(delete(AuditEvent).where(AuditEvent.sequence == place))
        broken = (await verify(sealed)).broken
        assert broken is not None
        assert (broken.sequence, broken.reason) == (place, "removed")

    async def test_reordered_events(self, sealed: Runtime) -> None:
        async with sealed.database.unit_of_work() as db:
            for old, new in ((7, 1000), (8, 7), (1000, 8)):
                await db.execute(update(AuditEvent).where(AuditEvent.sequence == old).values(sequence=new))
        broken = (await verify(sealed)).broken
        assert broken is not None
        assert (broken.sequence, broken.reason) == (7, "changed")

    async def test_an_inserted_event(self, sealed: Runtime) -> None:
        async with sealed.database.unit_of_work() as db:
            last = await db.scalar(select(AuditEvent).where(AuditEvent.sequence == 20))
            assert last is not None
            row = {column.key: getattr(last, column.key) for column in AuditEvent.__table__.columns}
            await db.execute(insert(AuditEvent).values(row | {"id": new_id(), "sequence": 21}))
        broken = (await verify(sealed)).broken
        assert broken is not None
        assert broken.sequence == 21

    async def test_a_head_that_was_moved_back(self, sealed: Runtime) -> None:
        async with sealed.database.unit_of_work() as db:
            await db.execute(delete(AuditEvent).where(AuditEvent.sequence > 15))
        assert (await verify(sealed)).broken is not None


class TestKeys:
    async def test_a_chain_goes_on_under_a_new_secret_key(self, sealed: Runtime) -> None:
        old = b"for tests only, and long enough for them"
        new = DerivedKeys(b"another secret key of more than 32 bytes", [old])
        rotated = Runtime(
            **{name: getattr(sealed, name) for name in sealed.__slots__ if name != "derived_keys"},
            derived_keys=new,
        )
        await record(rotated, 3)
        await seal(rotated)
        assert await verify(rotated) == ChainReport(23, None)
        broken = (await verify(sealed)).broken
        assert broken is not None
        assert broken.sequence == 21


class TestAnonymise:
    async def test_the_chain_holds_and_nothing_personal_is_left(self, sealed: Runtime) -> None:
        async with sealed.database.unit_of_work() as db:
            assert await audit_chain.anonymise(db, user_id=USER) == 20
        assert await verify(sealed) == ChainReport(20, None)
        async with sealed.database.reading() as db:
            left = await db.scalar(select(func.count()).where(AuditEvent.ip.is_not(None)))
        assert left == 0

    async def test_what_he_did_to_others_stays_on_record(self, runtime: Runtime) -> None:
        details = {"added": ["admin"], "removed": []}
        async with runtime.database.unit_of_work() as db:
            await audit.record(
                db, AuditAction.USER_ROLES_CHANGED, actor_id=USER, subject_id=uuid4(), details=details
            )
        await seal(runtime)
        async with runtime.database.unit_of_work() as db:
            await audit_chain.anonymise(db, user_id=USER)
        assert await verify(runtime) == ChainReport(1, None)
        async with runtime.database.reading() as db:
            assert await db.scalar(select(AuditEvent.details)) == details


class TestSealing:
    async def test_the_loop_seals_within_seconds(self, runtime: Runtime) -> None:
        task = audit_chain.sealing_task(runtime)
        await record(runtime, 3)
        task.start()
        try:
            for _ in range(100):
                if (await verify(runtime)).checked == 3:
                    break
                await asyncio.sleep(0.05)
        finally:
            await task.stop()
        assert (await verify(runtime)) == ChainReport(3, None)

    async def test_two_hosts_make_one_chain(self, runtime: Runtime) -> None:
        await record(runtime, 100)
        await asyncio.gather(*(seal(runtime) for _ in range(4)))
        assert await verify(runtime) == ChainReport(100, None)
        async with runtime.database.reading() as db:
            assert await db.scalar(select(func.count()).select_from(AuditAnchor)) == 1
