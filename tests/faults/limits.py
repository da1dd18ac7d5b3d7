"""F12, F13, F14: the Redis in which two workers count their limits dies, freezes and comes back empty."""

import asyncio
import time

from tests.faults.http import Client
from tests.faults.probe import probing
from tests.faults.scenarios import World, scenario
from tests.faults.served import Authapi
from tests.faults.traffic import database_calls, load, statuses, until

WORKERS = 2
LIMIT = 20
FROZEN_SECONDS = 6.0
RECOVERY_SECONDS = 5.0
RECOVERED = "Redis answers again"


def _counting_in_redis(world: World, **limits: str) -> dict[str, str]:
    return {"RATE_LIMIT__STORAGE_URL": world.redis.url, **limits}


@scenario("F12", "Redis is down at the start, and dies under load (kill -9)")
async def down(world: World) -> str:
    url = await world.new_postgres_url()
    world.redis.kill()
    limited = _counting_in_redis(world, RATE_LIMIT__AUTH=f"{LIMIT}/minute")
    async with world.authapi(url, workers=WORKERS, variables=limited) as authapi:
        allowed = await _guess(authapi.client, 5 * LIMIT * WORKERS)
        world.redis.start()
        at_start = await _recovered(authapi, times=1)
    async with world.authapi(url, workers=WORKERS, variables=_counting_in_redis(world)) as authapi:
        async with load(await database_calls(authapi.client)) as running:
            await asyncio.sleep(1)
            world.redis.kill()
            await asyncio.sleep(2)
            world.redis.start()
            under_load = await _recovered(authapi, times=1)
    assert set(statuses(running.sent)) == {200}, str(statuses(running.sent))
    return (
        f"down at the start: {allowed} guesses of at most {LIMIT * WORKERS} were let through, the rest 429; "
        f"counted together again {at_start:.1f} s after it was up; under load {len(running.sent)} of "
        f"{len(running.sent)} requests fine, together again after {under_load:.1f} s"
    )


async def _guess(client: Client, number: int) -> int:
    """Log in as nobody, all at once; returns how many tries were not refused by the limit."""
    answers = await asyncio.gather(*(client.log_in(f"nobody{turn}@example.com") for turn in range(number)))
    counts = {status: sum(answer.status == status for answer in answers) for status in (401, 429)}
    assert sum(counts.values()) == number, sorted({answer.status for answer in answers})
    assert LIMIT <= counts[401] <= LIMIT * WORKERS, f"{counts[401]} guesses were let through"
    assert all("retry-after" in answer.headers for answer in answers if answer.status == 429)
    return counts[401]


async def _recovered(authapi: Authapi, *, times: int) -> float:
    """The seconds until a worker has said so often that it counts in Redis again."""

    async def has_said_so() -> bool:
        # A worker tries again as it is asked for something that has a limit.
        await authapi.client.refresh("authapi_rt_of_nobody")
        return authapi.output.read_text(errors="replace").count(RECOVERED) >= times

    return await until(has_said_so, seconds=RECOVERY_SECONDS)


@scenario("F13", f"Redis is frozen for {FROZEN_SECONDS:.0f} s (SIGSTOP)")
async def frozen(world: World) -> str:
    url = await world.new_postgres_url()
    async with world.authapi(url, workers=WORKERS, variables=_counting_in_redis(world)) as authapi:
        client = authapi.client
        token = (await client.account("ada@example.com"))["access_token"]
        calls = await database_calls(client)
        async with load(calls), probing(authapi.port, "/verify", token=token) as before:
            await asyncio.sleep(4)
        async with load(calls) as running, probing(authapi.port, "/verify", token=token) as during:
            await asyncio.to_thread(world.redis.freeze)
            try:
                await asyncio.sleep(FROZEN_SECONDS)
            finally:
                world.redis.thaw()
    assert set(statuses(running.sent)) == {200}, str(statuses(running.sent))
    assert during.failures == 0, f"failed probes: {during.failed}"
    assert during.p99 <= before.p99 + 50, f"/verify p99 {before.p99:.1f} -> {during.p99:.1f} ms"
    slowest = max(sent.seconds for sent in running.sent)
    return (
        f"/verify p99 {before.p99:.1f} -> {during.p99:.1f} ms; {len(running.sent)} of {len(running.sent)} limited "
        f"requests fine, the slowest after {slowest:.2f} s"
    )


@scenario("F14", "Redis is killed and comes back empty (kill -9)")
async def emptied(world: World) -> str:
    url = await world.new_postgres_url()
    async with world.authapi(url, workers=WORKERS, variables=_counting_in_redis(world)) as authapi:
        client = authapi.client
        accounts = [await client.account(f"user{number}@example.com") for number in range(20)]
        ended, kept = accounts[:10], accounts[10:]
        async with load(await database_calls(client)) as running:
            for account in ended[:5]:
                assert (await client.log_out(account["access_token"])).status == 200
            world.redis.kill()
            for account in ended[5:]:
                assert (await client.log_out(account["access_token"])).status == 200
            world.redis.start()
            ended_at = time.monotonic()
            # A worker may follow a second behind.
            await asyncio.sleep(1)
            for account in ended:
                # Both workers are asked, more or less in turn.
                for _ in range(4):
                    assert (await client.get("/verify", token=account["access_token"])).status == 401
                assert (await client.refresh(account["refresh_token"])).status == 401
            for account in kept:
                assert (await client.get("/verify", token=account["access_token"])).status == 200
                assert (await client.refresh(account["refresh_token"])).status == 200
            seconds = time.monotonic() - ended_at
    assert set(statuses(running.sent)) == {200}, str(statuses(running.sent))
    return (
        f"{len(ended)} ended sessions stayed ended and {len(kept)} others went on, looked at for {seconds:.1f} s; "
        f"{len(running.sent)} of {len(running.sent)} requests beside it fine"
    )
