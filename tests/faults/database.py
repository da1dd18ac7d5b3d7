"""F5, F6, F8, F9, F10: PostgreSQL restarts, dies, freezes, is slow, or is busy."""

import asyncio
import time

import asyncpg
from sqlalchemy.engine import make_url

from tests.faults.http import Answer, Client
from tests.faults.probe import probing
from tests.faults.proxy import proxied
from tests.faults.scenarios import World, scenario
from tests.faults.traffic import (
    Chain,
    assert_refused_in_good_order,
    database_calls,
    load,
    statuses,
    until,
)

FROZEN_SECONDS = 8.0
DELAY_SECONDS = 0.2
POOL = 10


@scenario("F5", "PostgreSQL restarts under load")
async def restart(world: World) -> str:
    url = await world.new_postgres_url()
    async with world.authapi(url) as authapi, load(await database_calls(authapi.client)) as running:
        await asyncio.sleep(1)
        stopped = time.monotonic()
        await asyncio.to_thread(world.postgres.restart)
        ready = time.monotonic()
        await asyncio.sleep(3)
    after = running.between(ready)
    refused = [sent for sent in running.sent if sent.status == 503]
    assert_refused_in_good_order(running.sent)
    assert set(statuses(after)) == {200}, f"after it was up: {statuses(after)}"
    return (
        f"down for {ready - stopped:.1f} s: {len(refused)} x 503, no other failure; "
        f"{len(after)} of {len(after)} requests fine once it was up"
    )


@scenario("F6", "PostgreSQL is killed under load (kill -9)")
async def kill(world: World) -> str:
    url = await world.new_postgres_url()
    async with world.authapi(url) as authapi, load(await database_calls(authapi.client)) as running:
        client = authapi.client
        await asyncio.sleep(1)
        # One that was acknowledged just before.
        account = await client.account("acknowledged@example.com")
        await asyncio.to_thread(world.postgres.kill)
        killed = time.monotonic()
        await asyncio.sleep(1)
        live, ready = await client.get("/health/live"), await client.get("/health/ready")
        down = time.monotonic()
        await asyncio.to_thread(world.postgres.start)
        up = time.monotonic()
        recovered = await until(lambda: _is_ok(client, account["refresh_token"]), seconds=10)
        settled = time.monotonic()
        await asyncio.sleep(2)
    assert (live.status, ready.status) == (200, 503), f"live {live.status}, ready {ready.status}"
    assert_refused_in_good_order(running.sent)
    during = [sent for sent in running.between(killed, down) if sent.status == 503]
    slowest = max(sent.seconds for sent in during) * 1000
    assert slowest <= 500, f"a 503 took {slowest:.0f} ms"
    assert recovered <= 2, f"first success {recovered:.1f} s after PostgreSQL was ready"
    after = running.between(settled)
    assert set(statuses(after)) == {200}, f"afterwards: {statuses(after)}"
    return (
        f"down for {up - killed:.1f} s: {len(during)} x 503 in at most {slowest:.0f} ms, live 200, ready 503; "
        f"first success {recovered * 1000:.0f} ms after it was up; the acknowledged account is there"
    )


async def _is_ok(client: Client, refresh_token: str) -> bool:
    return (await client.refresh(refresh_token)).status == 200


@scenario("F8", "PostgreSQL freezes for 8 s (SIGSTOP)")
async def freeze(world: World) -> str:
    url = await world.new_postgres_url()
    async with world.authapi(url) as authapi:
        calls = await database_calls(authapi.client, users=4)
        async with load(calls) as running, probing(authapi.port, "/health/live") as live:
            await asyncio.sleep(1)
            frozen = time.monotonic()
            await asyncio.to_thread(world.postgres.freeze)
            await asyncio.sleep(FROZEN_SECONDS)
            await asyncio.to_thread(world.postgres.thaw)
            thawed = time.monotonic()
            await asyncio.sleep(3)
        await until(lambda: _pool_is_idle(authapi.client), seconds=2)
    assert_refused_in_good_order(running.sent)
    during = [sent for sent in running.between(frozen, thawed) if sent.status == 503]
    slowest = max(sent.seconds for sent in during)
    assert slowest <= 3, f"a 503 took {slowest:.1f} s"
    after = running.between(thawed + 1)
    assert set(statuses(after)) == {200}, f"afterwards: {statuses(after)}"
    assert live.failures == 0, f"failed probes: {live.failed}"
    assert live.p99 < 100, f"/health/live p99 {live.p99:.0f} ms"
    return (
        f"{len(during)} x 503 in at most {slowest:.2f} s, /health/live p99 {live.p99:.0f} ms; "
        f"a second after the thaw {len(after)} of {len(after)} fine, the pool free at the end"
    )


async def _pool_is_idle(client: Client) -> bool:
    return await pool_in_use(client) <= 1


async def pool_in_use(client: Client) -> float:
    """Connections in use, this reading's own among them."""
    return await metric(client, "authapi_database_pool_in_use")


async def metric(client: Client, name: str) -> float:
    """The sum of a metric's series."""
    lines = (await client.get("/metrics")).body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@scenario("F9", "every answer of PostgreSQL takes 200 ms longer")
async def slow(world: World) -> str:
    url = await world.new_postgres_url()
    address = make_url(url)
    assert address.port is not None
    async with proxied(address.port) as proxy:
        slowly = address.set(port=proxy.port).render_as_string(hide_password=False)
        async with world.authapi(slowly) as authapi:
            client = authapi.client
            # authapi's own loops need connections too, and each holds one for as long.
            busy = POOL - 2
            accounts = [await client.account(f"slow{number}@example.com") for number in range(busy)]
            chains = [Chain(client, account["refresh_token"]) for account in accounts]
            token = accounts[0]["access_token"]
            async with probing(authapi.port, "/verify", token=token) as before:
                await asyncio.sleep(4)
            # It becomes slow under load: the pool is full. A connection by itself takes five round trips.
            crowd = [client.get("/api/profile", token=token) for _ in range(5 * POOL)]
            assert {answer.status for answer in await asyncio.gather(*crowd)} == {200}
            proxy.delay = DELAY_SECONDS
            # Connections that were idle, and a login as the longest of all requests.
            alone = min([(await chains[0]()).seconds for _ in range(3)])
            login = await client.log_in("slow0@example.com")
            async with (
                probing(authapi.port, "/verify", token=token) as during,
                load(chains, pause=0) as running,
            ):
                started = time.monotonic()
                await asyncio.sleep(10)
                elapsed = time.monotonic() - started
    assert login.status == 200, f"a login is answered {login.status} after {login.seconds:.1f} s"
    done = [sent for sent in running.sent if sent.status == 200]
    assert_refused_in_good_order(running.sent)
    p99 = sorted(sent.seconds for sent in done)[int(0.99 * len(done))]
    share = len([sent for sent in done if sent.ended <= started + elapsed]) / elapsed / (busy / alone)
    assert share >= 0.8, f"goodput is {share:.0%} of pool / latency"
    assert p99 <= 2, f"p99 {p99:.2f} s"
    # A few milliseconds are noise.
    assert during.p99 <= max(1.1 * before.p99, before.p99 + 5), f"{before.p99:.1f} -> {during.p99:.1f} ms"
    return (
        f"goodput {share:.0%} of pool / latency, p99 {p99:.2f} s, {len(running.sent) - len(done)} x 503, "
        f"a login {login.seconds:.1f} s; "
        f"/verify p99 {before.p99:.1f} -> {during.p99:.1f} ms"
    )


@scenario("F10", "every connection of the pool is taken")
async def exhausted(world: World) -> str:
    url = await world.new_postgres_url()
    async with world.authapi(url) as authapi:
        client = authapi.client
        accounts = [await client.account(f"pool{number}@example.com") for number in range(2 * POOL)]
        blocker = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            transaction = blocker.transaction()
            await transaction.start()
            await blocker.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")

            async def ask(number: int) -> Answer:
                return await client.get("/api/profile", token=accounts[number]["access_token"])

            holders = [asyncio.create_task(ask(number)) for number in range(POOL)]
            await asyncio.sleep(0.2)
            # Refreshes that wait for one another wait for no longer than those that wait for the pool.
            refused = await asyncio.gather(
                *(ask(number) for number in range(POOL, 2 * POOL)),
                *(client.refresh(account["refresh_token"]) for account in accounts),
            )
            await transaction.rollback()
        finally:
            await blocker.close()
        held = await asyncio.gather(*holders)
        after = await asyncio.gather(*(ask(number) for number in range(POOL, 2 * POOL)))
    assert {answer.status for answer in refused} == {503}, [answer.status for answer in refused]
    assert all("retry-after" in answer.headers for answer in refused)
    slowest = max(answer.seconds for answer in refused)
    assert slowest <= 1.25, f"refused after {slowest:.2f} s"
    assert {answer.status for answer in held} == {200}, [answer.status for answer in held]
    assert {answer.status for answer in after} == {200}, [answer.status for answer in after]
    return f"{len(refused)} x 503 after {slowest:.2f} s; the {POOL} that held a connection went on at its release"
