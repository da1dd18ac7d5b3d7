"""F39: hours of mixed load in minutes, with a kill now and then."""

import asyncio
import time

import asyncpg
from sqlalchemy import func, select, text

from authapi.database import Database
from authapi.models import Base
from tests.faults.http import PASSWORD
from tests.faults.people import Ledger, Person
from tests.faults.scenarios import QUIET, World, scenario
from tests.faults.served import Authapi

PEOPLE = 8
WARM_SECONDS = 15.0
# Python gives memory back late; what grows without bound shows as more than this in every run.
GROWTH = 1.05
SLACK_MIB = 8.0
# A machine that stands still for a second lets a request wait too long; nothing else may.
REFUSED = 0.001


@scenario("F39", "soak under mixed load")
async def soak(world: World) -> str:
    url = await world.new_postgres_url()
    seconds = world.soak_minutes * 60
    ledger = Ledger()
    async with world.authapi(url, variables=QUIET) as authapi:
        people = [Person([authapi.client], ledger, seed=seed) for seed in range(PEOPLE)]
        over = asyncio.Event()
        lives = [asyncio.create_task(person.live(over.is_set)) for person in people]
        try:
            await asyncio.sleep(min(WARM_SECONDS + 0.2 * seconds, 120))
            before = authapi.resident_mib(), authapi.descriptors()
            samples = await _watch(authapi, seconds)
            refused = dict(ledger.unknown)
            after = authapi.resident_mib(), authapi.descriptors()
        finally:
            over.set()
            await asyncio.gather(*lives)
        # "Hourly" kills: what was acknowledged is there afterwards.
        authapi.kill()
        await authapi.start()
        for person in people:
            await person.settle()
    tables = await _tables(url)
    assert not ledger.violations, f"{len(ledger.violations)}: {'; '.join(ledger.violations[:5])}"
    share = sum(refused.values()) / ledger.answers.total()
    assert share <= REFUSED, f"{share:.2%} were refused or lost: {refused}"
    assert after[0] <= before[0] * GROWTH + SLACK_MIB, f"memory {before[0]:.0f} -> {after[0]:.0f} MiB"
    assert after[1] <= before[1] + 10, f"descriptors {before[1]} -> {after[1]}"
    largest = ", ".join(f"{name} {count}" for name, count in tables[:4])
    return (
        f"{world.soak_minutes:g} min, {ledger.answers.total()} requests, refused: {refused or 'none'}; "
        f"memory {before[0]:.0f} -> {after[0]:.0f} MiB (at most {max(samples):.0f}), "
        f"descriptors {before[1]} -> {after[1]}; {largest}"
    )


async def _watch(authapi: Authapi, seconds: float) -> list[float]:
    samples, until = [authapi.resident_mib()], time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(min(5.0, seconds / 10))
        samples.append(authapi.resident_mib())
    return samples


async def _tables(url: str) -> list[tuple[str, int]]:
    """The tables by their number of rows, the largest first."""
    database = Database(url)
    try:
        async with database.reading() as db:
            counts = {
                name: await db.scalar(select(func.count()).select_from(text(name))) or 0
                for name in Base.metadata.tables
            }
    finally:
        await database.close()
    return sorted(counts.items(), key=lambda entry: -entry[1])


@scenario("F39b", "expired rows are purged while the service is used")
async def purge(world: World) -> str:
    url = await world.new_postgres_url()
    async with world.authapi(url) as authapi:
        client = authapi.client
        for number in range(20):
            account = await client.account(f"expires{number}@example.com")
            assert (await client.log_out(account["access_token"])).status == 200
        before = dict(await _tables(url))
        authapi.kill()
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        # As if the hour had passed in which they matter.
        await connection.execute("UPDATE revocations SET expires_at = now() - interval '1 minute'")
        await connection.close()
        # The loop that purges runs at the start and then every hour.
        await authapi.start()
        await asyncio.sleep(2)
        after = dict(await _tables(url))
        assert (await client.log_in("expires0@example.com", PASSWORD)).status == 200
    assert before["revocations"] >= 20, str(before)
    assert after["revocations"] <= 1, (
        f"{after['revocations']} of {before['revocations']} revocations are left"
    )
    return f"revocations {before['revocations']} -> {after['revocations']} once they had expired"
