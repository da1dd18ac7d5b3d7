"""Keys follow each other: by age, on order, in an emergency, to another algorithm; always one at a time."""

import asyncio
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select

from authapi import clock
from authapi.models import SigningKey
from authapi.repositories import signing_keys
from authapi.runtime import Runtime
from authapi.services.key_rotation import (
    PUBLISH_LEAD,
    RotationRefused,
    replace_compromised,
    rotate,
)
from authapi.services.signing_keys import generate_key
from tests.support.hosts import Host, kid_of
from tests.support.key_databases import MakeRuntime

SECOND = timedelta(seconds=1)
LIFETIME = timedelta(hours=1)
RS256 = {"algorithm": "RS256"}
HS256 = {"algorithm": "HS256", "secret": "a shared secret of more than 32 bytes"}
BACK_FROM_HS256 = {"algorithm": "ES256", "secret": HS256["secret"]}


async def order(runtime: Runtime) -> SigningKey:
    async with runtime.database.unit_of_work() as db:
        return await rotate(db, runtime, fresh=await generate_key(runtime))


async def replace(runtime: Runtime) -> SigningKey:
    async with runtime.database.unit_of_work() as db:
        return await replace_compromised(db, runtime, fresh=await generate_key(runtime))


async def stored(runtime: Runtime, kid: str) -> SigningKey:
    async with runtime.database.reading() as db:
        return (await db.scalars(select(SigningKey).where(SigningKey.kid == kid))).one()


class TestAge:
    async def test_an_old_key_gets_one_successor(self, make_runtime: MakeRuntime) -> None:
        host = await Host(make_runtime(access_token={"key_lifetime": timedelta(days=7)})).reload()
        first = kid_of(host.issue())
        with time_machine.travel(clock.utc_now(), tick=False) as traveller:
            traveller.shift(timedelta(days=6, hours=23))
            await host.reload()
            assert await host.stored_kids() == [first]
            traveller.shift(timedelta(hours=1))
            for _ in range(3):
                await host.reload()
            second, oldest = await host.stored_kids()
            assert oldest == first
            assert kid_of(host.issue()) == first
            row = await stored(host.runtime, second)
            assert row.activates_at == clock.utc_now() + PUBLISH_LEAD
            end = (await stored(host.runtime, first)).verifies_until
            assert end == row.activates_at + LIFETIME + clock.SKEW_MARGIN
            traveller.shift(PUBLISH_LEAD)
            assert kid_of(host.issue()) == second

    async def test_twenty_hosts_make_one_first_key(self, make_runtime: MakeRuntime) -> None:
        hosts = [Host(make_runtime()) for _ in range(20)]
        await asyncio.gather(*(host.reload() for host in hosts))
        assert len(await hosts[0].stored_kids()) == 1
        tokens = [host.issue() for host in hosts]
        assert all(host.accepts(token) for host in hosts for token in tokens)

    async def test_twenty_hosts_make_one_successor(self, make_runtime: MakeRuntime) -> None:
        hosts = [Host(make_runtime()) for _ in range(20)]
        for host in hosts:
            await host.reload()
        with time_machine.travel(clock.utc_now() + timedelta(days=91)):
            await asyncio.gather(*(host.reload() for host in hosts))
        assert len(await hosts[0].stored_kids()) == 2


class TestOrder:
    async def test_while_one_is_waiting_it_is_refused(self, make_runtime: MakeRuntime) -> None:
        host = await Host(make_runtime()).reload()
        waiting = await order(host.runtime)
        with pytest.raises(RotationRefused, match=waiting.kid):
            await order(host.runtime)
        assert len(await host.stored_kids()) == 2
        with time_machine.travel(clock.utc_now() + PUBLISH_LEAD + SECOND):
            await order(host.runtime)
        assert len(await host.stored_kids()) == 3

    async def test_the_first_key_of_all_signs_at_once(self, make_runtime: MakeRuntime) -> None:
        runtime = make_runtime()
        row = await order(runtime)
        assert kid_of((await Host(runtime).reload()).issue()) == row.kid

    async def test_hs256_has_nothing_to_rotate(self, make_runtime: MakeRuntime) -> None:
        runtime = make_runtime(access_token=HS256)
        for change in (order, replace):
            with pytest.raises(RotationRefused, match="AUTHAPI_ACCESS_TOKEN__SECRET"):
                await change(runtime)

    async def test_the_end_is_put_off_for_tokens_of_a_longer_life(self, make_runtime: MakeRuntime) -> None:
        host = await Host(make_runtime()).reload()
        first, second = kid_of(host.issue()), await order(host.runtime)
        restarted = Host(make_runtime(access_token={"lifetime": timedelta(hours=8)}))
        for changed in (restarted, host):
            await changed.reload()
            end = (await stored(host.runtime, first)).verifies_until
            assert end == second.activates_at + timedelta(hours=8) + clock.SKEW_MARGIN

    async def test_every_token_outlives_its_keys_turn(self, make_runtime: MakeRuntime) -> None:
        host = await Host(make_runtime()).reload()
        await order(host.runtime)
        with time_machine.travel(clock.utc_now() + PUBLISH_LEAD - 5 * SECOND, tick=False) as traveller:
            await host.reload()
            last = host.issue()
            traveller.shift(10 * SECOND)
            assert kid_of(host.issue()) != kid_of(last)
            traveller.shift(LIFETIME - 11 * SECOND)
            assert host.accepts(last)
            assert (await Host(make_runtime()).reload()).accepts(last)


class TestCompromised:
    async def test_only_the_new_key_is_left(self, make_runtime: MakeRuntime) -> None:
        host, other = await Host(make_runtime()).reload(), await Host(make_runtime()).reload()
        await order(host.runtime)
        await host.reload()
        token = host.issue()
        assert host.accepts(token)
        row = await replace(host.runtime)
        for affected in (host, other):
            await affected.reload()
            assert not affected.accepts(token)
            assert [key.kid for key in affected.keys] == [row.kid]
            assert affected.accepts(affected.issue())

    async def test_a_host_whose_clock_is_behind_follows(self, make_runtime: MakeRuntime) -> None:
        host = await Host(make_runtime()).reload()
        token = host.issue()
        row = await replace(host.runtime)
        with time_machine.travel(clock.utc_now() - timedelta(minutes=2), tick=False):
            behind = await Host(make_runtime()).reload()
            assert kid_of(behind.issue()) == row.kid
            assert not behind.accepts(token)

    async def test_it_helps_when_the_secret_key_is_lost(self, make_runtime: MakeRuntime) -> None:
        await Host(make_runtime()).reload()
        runtime = make_runtime(secret_key="the old secret key was lost, this is new")
        row = await replace(runtime)
        assert kid_of((await Host(runtime).reload()).issue()) == row.kid


class TestAlgorithm:
    async def test_to_another_one_without_a_pause(self, make_runtime: MakeRuntime) -> None:
        with time_machine.travel(clock.utc_now(), tick=False) as traveller:
            old = await Host(make_runtime()).reload()
            traveller.shift(SECOND)
            new = await Host(make_runtime(access_token=RS256)).reload()
            before = new.issue()
            assert kid_of(before) == kid_of(old.issue())
            await old.reload()
            traveller.shift(PUBLISH_LEAD)
            after = [new.issue(), old.issue()]
            assert kid_of(after[0]) == kid_of(after[1]) != kid_of(before)
            for host in (old, new):
                # A process that does not know of the change yet does not take it back.
                await host.reload()
                assert all(host.accepts(token) for token in (before, *after))
            assert len(await old.stored_kids()) == 2

    async def test_to_hs256_and_processes_that_stay_behind(self, make_runtime: MakeRuntime) -> None:
        with time_machine.travel(clock.utc_now(), tick=False) as traveller:
            old = await Host(make_runtime()).reload()
            token = old.issue()
            traveller.shift(SECOND)
            new = await Host(make_runtime(access_token=HS256)).reload()
            assert new.accepts(token)
            assert new.accepts(new.issue())
            # The row now has an end. Whoever still needs a row makes one, and it is left alone.
            for _ in range(3):
                await old.reload()
                await new.reload()
            assert len(await old.stored_kids()) == 2
            traveller.shift(PUBLISH_LEAD)
            token = old.issue()
            assert kid_of(token) == (await old.stored_kids())[0]
            assert new.accepts(token)
            traveller.shift(SECOND)
            await Host(new.runtime).reload()
            traveller.shift(2 * PUBLISH_LEAD + LIFETIME + clock.SKEW_MARGIN)
            last = await Host(new.runtime).reload()
            assert last.keys == [key for key in last.keys if key.algorithm == "HS256"]

    async def test_back_from_hs256_with_the_secret_still_configured(self, make_runtime: MakeRuntime) -> None:
        with time_machine.travel(clock.utc_now(), tick=False) as traveller:
            old = await Host(make_runtime(access_token=HS256)).reload()
            traveller.shift(SECOND)
            new = await Host(make_runtime(access_token=BACK_FROM_HS256)).reload()
            before = new.issue()
            assert kid_of(before) == kid_of(old.issue())
            await old.reload()
            traveller.shift(PUBLISH_LEAD)
            after = new.issue()
            assert kid_of(after) == (await new.stored_kids())[0]
            for host in (old, new):
                assert all(host.accepts(token) for token in (before, after))

    async def test_back_from_hs256_without_the_secret(self, make_runtime: MakeRuntime) -> None:
        token = (await Host(make_runtime(access_token=HS256)).reload()).issue()
        new = await Host(make_runtime()).reload()
        assert new.accepts(new.issue())
        assert not new.accepts(token)


async def test_the_lock_is_held_until_the_end(make_runtime: MakeRuntime) -> None:
    """A second rotation waits for the first one instead of reading what is about to change."""
    host = await Host(make_runtime()).reload()
    fresh = await generate_key(host.runtime)
    async with host.runtime.database.unit_of_work() as db:
        await signing_keys.lock(db)
        await rotate(db, host.runtime, fresh=fresh)
        second = asyncio.create_task(order(host.runtime))
        await asyncio.sleep(0.3)
        assert not second.done()
    with pytest.raises(RotationRefused, match=fresh.kid):
        await second
