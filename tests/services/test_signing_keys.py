"""Signing keys as processes load them: the first one, times, other secret keys, HS256."""

from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select, update

from authapi import clock, errors
from authapi.models import AuditEvent, SigningKey
from authapi.security.signing_keys import Algorithm
from authapi.services.key_rotation import PUBLISH_LEAD, rotate
from authapi.services.signing_keys import generate_key, load_keys, reseal_keys
from authapi.settings import InvalidSettings
from tests.support.hosts import Host, kid_of
from tests.support.key_databases import MakeRuntime

OTHER_SECRET = "another secret key, just as long as the first"
HS256 = {"algorithm": "HS256", "secret": "a shared secret of more than 32 bytes"}
LIFETIME = timedelta(hours=1)


async def publish_next(host: Host) -> str:
    """Rotate as an operator does and load it; returns the kid."""
    async with host.runtime.database.unit_of_work() as db:
        row = await rotate(db, host.runtime, fresh=await generate_key(host.runtime))
    await host.reload()
    return row.kid


class TestLoadKeys:
    @pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
    async def test_the_first_start_makes_a_key_that_signs_at_once(
        self, make_runtime: MakeRuntime, algorithm: str
    ) -> None:
        host = await Host(make_runtime(access_token={"algorithm": algorithm})).reload()
        assert host.accepts(host.issue())
        assert [key.algorithm for key in host.keys] == [Algorithm(algorithm)]
        async with host.runtime.database.reading() as db:
            row = (await db.scalars(select(SigningKey))).one()
            events = [
                event for event in await db.scalars(select(AuditEvent)) if event.details.get("kid") == row.kid
            ]
        assert "PRIVATE" not in row.sealed_private_key
        assert [(event.action, event.reason) for event in events] == [("signing_key.created", "first")]

    async def test_a_second_host_loads_the_same(self, make_runtime: MakeRuntime) -> None:
        one, other = await Host(make_runtime()).reload(), await Host(make_runtime()).reload()
        assert other.accepts(one.issue())
        assert one.accepts(other.issue())
        assert len(await one.stored_kids()) == 1

    async def test_hs256_stores_nothing(self, make_runtime: MakeRuntime) -> None:
        host = await Host(make_runtime(access_token=HS256)).reload()
        assert host.accepts(host.issue())
        assert await host.stored_kids() == []

    async def test_before_any_key_is_loaded(self, make_runtime: MakeRuntime) -> None:
        with pytest.raises(errors.ServiceUnavailable):
            Host(make_runtime()).issue()

    async def test_ended_keys_are_not_loaded(self, make_runtime: MakeRuntime) -> None:
        host = await Host(make_runtime()).reload()
        await publish_next(host)
        with time_machine.travel(
            clock.utc_now() + PUBLISH_LEAD + LIFETIME + clock.SKEW_MARGIN + timedelta(seconds=2)
        ):
            later = await Host(make_runtime()).reload()
            assert len(later.keys) == 1


class TestSecretKeys:
    async def test_another_secret_key_is_one_clear_line(self, make_runtime: MakeRuntime) -> None:
        await Host(make_runtime()).reload()
        with pytest.raises(InvalidSettings) as caught:
            await Host(make_runtime(secret_key=OTHER_SECRET)).reload()
        (problem,) = caught.value.problems
        assert problem.startswith("AUTHAPI_SECRET_KEY: the stored signing keys were sealed under another")

    async def test_a_previous_secret_key_opens(self, make_runtime: MakeRuntime) -> None:
        old = await Host(make_runtime()).reload()
        secret = old.runtime.settings.secret_key
        new = await Host(make_runtime(secret_key=OTHER_SECRET, secret_key_previous=[secret])).reload()
        assert new.accepts(old.issue())

    async def test_reseal_changes_each_key_once(self, make_runtime: MakeRuntime) -> None:
        old = await Host(make_runtime()).reload()
        await publish_next(old)
        secret = old.runtime.settings.secret_key
        both = make_runtime(secret_key=OTHER_SECRET, secret_key_previous=[secret])
        for expected in ((2, 2), (0, 2)):
            async with both.database.unit_of_work() as db:
                assert await reseal_keys(db, both) == expected
        new = await Host(make_runtime(secret_key=OTHER_SECRET)).reload()
        assert new.accepts(old.issue())

    async def test_what_is_in_memory_is_not_opened_again(self, make_runtime: MakeRuntime) -> None:
        host = await Host(make_runtime()).reload()
        token = host.issue()
        async with host.runtime.database.unit_of_work() as db:
            await db.execute(update(SigningKey).values(sealed_private_key="v1.AAAAAAAA.AAAA"))
        assert (await host.reload()).accepts(token)


class TestTimes:
    async def test_a_next_key_takes_over_by_the_clock(self, make_runtime: MakeRuntime) -> None:
        host = await Host(make_runtime()).reload()
        first = host.keys[0].kid
        second = await publish_next(host)
        before = host.issue()
        with time_machine.travel(clock.utc_now(), tick=False) as traveller:
            traveller.shift(PUBLISH_LEAD - timedelta(seconds=2))
            assert kid_of(host.issue()) == first
            traveller.shift(timedelta(seconds=2))
            after = host.issue()
            assert kid_of(after) == second
            assert host.accepts(before)
            assert host.accepts(after)

    async def test_a_next_key_verifies_before_it_signs(self, make_runtime: MakeRuntime) -> None:
        """A host whose clock is ahead signs with it already."""
        host = await Host(make_runtime()).reload()
        await publish_next(host)
        with time_machine.travel(clock.utc_now() + PUBLISH_LEAD, tick=False):
            token = host.issue()
        with time_machine.travel(clock.utc_now() + PUBLISH_LEAD - timedelta(seconds=20), tick=False):
            assert host.accepts(token)

    async def test_a_retired_key_ends_by_the_clock(self, make_runtime: MakeRuntime) -> None:
        """Though its tokens have been remembered as genuine, and would be valid for hours."""
        host = await Host(make_runtime(access_token={"lifetime": timedelta(hours=12)})).reload()
        first = host.keys[0].kid
        second = await publish_next(host)
        async with host.runtime.database.unit_of_work() as db:
            soon = clock.utc_now() + timedelta(hours=2)
            await db.execute(update(SigningKey).where(SigningKey.kid == first).values(verifies_until=soon))
        async with host.runtime.database.reading() as db:
            await load_keys(db, host.runtime)
        token = host.issue()
        assert kid_of(token) == first
        assert host.accepts(token)
        with time_machine.travel(clock.utc_now() + timedelta(minutes=119), tick=False):
            assert host.accepts(token)
        with time_machine.travel(clock.utc_now() + timedelta(minutes=121), tick=False):
            assert not host.accepts(token)
            assert [key.kid for key in host.keys] == [second]
