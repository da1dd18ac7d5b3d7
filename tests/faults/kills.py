"""K200: the service is killed again and again under mixed load."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from random import Random  # noqa: TID251 - not a secret: the same run twice

from sqlalchemy import func, select

from authapi.database import Database
from authapi.models import User
from tests.faults.people import Ledger, Person
from tests.faults.scenarios import QUIET, World, scenario
from tests.faults.served import Authapi
from tests.faults.traffic import until

PEOPLE = 10
# On a busy machine.
LIFE_SECONDS = 60.0


@scenario("K200", "200 x kill -9 under mixed load")
async def kill_again_and_again(world: World) -> str:
    shares = {"PostgreSQL, 2 hosts": 0.6, "PostgreSQL, 2 workers": 0.15, "SQLite": 0.25}
    figures = []
    for name, share in shares.items():
        url = world.new_sqlite_url() if name == "SQLite" else await world.new_postgres_url()
        workers = 2 if "workers" in name else 1
        hosts = 2 if "hosts" in name else 1
        figures.append(
            f"{name}: {await _round(world, url, kills=round(world.kills * share), hosts=hosts, workers=workers)}"
        )
    return "; ".join(figures)


async def _round(world: World, url: str, *, kills: int, hosts: int, workers: int) -> str:
    ledger = Ledger()
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        served = [
            await stack.enter_async_context(world.authapi(url, workers=workers, variables=QUIET))
            for _ in range(hosts)
        ]
        await _live_through(served, ledger, kills=kills)
        complaints = "\n".join(one.complaints() for one in served)
    await _count_accounts(url, ledger)
    assert not ledger.violations, (
        f"{len(ledger.violations)} violations: {'; '.join(ledger.violations[:5])}\n{complaints}"
    )
    assert ledger.answers.total() > kills, f"only {ledger.answers}"
    return (
        f"{kills} kills in {time.monotonic() - started:.0f} s, {ledger.answers.total()} acknowledged "
        f"({ledger.answers['refresh']} refreshes, {ledger.answers['logout']} logouts, "
        f"{len(ledger.accounts)} accounts), {ledger.unknown.total()} unknown, 0 violations"
    )


async def _live_through(served: Sequence[Authapi], ledger: Ledger, *, kills: int) -> None:
    clients = [authapi.client for authapi in served]
    people = [Person(clients, ledger, seed=seed) for seed in range(PEOPLE)]
    killers = [_kill(authapi, ledger, kills // len(served), seed=seed) for seed, authapi in enumerate(served)]
    over = asyncio.Event()
    lives = [asyncio.create_task(person.live(over.is_set)) for person in people]
    try:
        await asyncio.gather(*killers)
    finally:
        over.set()
        await asyncio.gather(*lives)
    for person in people:
        await person.settle()
    for token, successors in ledger.successors.items():
        if len(successors) > 1:
            ledger.accuse(f"{token[:20]}... has {len(successors)} successors")


async def _kill(authapi: Authapi, ledger: Ledger, times: int, *, seed: int) -> None:
    """Kill in the middle of the work: once some more requests were answered, at a moment of chance."""
    chance = Random(seed)
    for _ in range(times):
        enough = ledger.answers.total() + chance.randint(10, 60)

        async def has_worked(enough: int = enough) -> bool:
            return ledger.answers.total() >= enough

        try:
            await until(has_worked, seconds=LIFE_SECONDS, interval=chance.uniform(0.01, 0.1))
        except AssertionError:
            raise AssertionError(
                f"no answers for {LIFE_SECONDS:.0f} s; until then {ledger.unknown}"
            ) from None
        await asyncio.to_thread(authapi.kill)
        await authapi.start()


async def _count_accounts(url: str, ledger: Ledger) -> None:
    database = Database(url)
    try:
        async with database.reading() as db:
            emails = list(await db.scalars(select(User.email_canonical)))
            count = await db.scalar(select(func.count()).select_from(User))
    finally:
        await database.close()
    if not ledger.accounts <= set(emails):
        ledger.accuse(f"{len(ledger.accounts - set(emails))} acknowledged accounts are not in the database")
    if count != len(set(emails)) or not set(emails) <= ledger.tried:
        ledger.accuse("accounts that nobody made, or twice")
