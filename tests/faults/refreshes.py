"""F19b: refresh tokens that many use at once, on two hosts."""

import asyncio
from collections import Counter

from tests.faults.http import Client
from tests.faults.scenarios import QUIET, World, scenario

TOKENS = 200
USES = 50


@scenario("F19b", f"{TOKENS} refresh tokens, each used {USES} times at once on two hosts")
async def many_uses(world: World) -> str:
    figures = []
    for kind, url in (("PostgreSQL", await world.new_postgres_url()), ("SQLite", world.new_sqlite_url())):
        async with (
            world.authapi(url, variables=QUIET) as first,
            world.authapi(url, variables=QUIET) as second,
        ):
            hosts = (first.client, second.client)
            statuses: Counter[int] = Counter()
            for number in range(TOKENS):
                account = await hosts[0].account(f"many{number}@example.com")
                statuses += await _use(hosts, account["refresh_token"])
        figures.append(f"{kind}: one successor for each of {TOKENS} tokens, answers {dict(statuses)}")
    return "; ".join(figures)


async def _use(hosts: tuple[Client, Client], token: str) -> Counter[int]:
    """Within the grace everybody gets the one next pair, which goes on being good."""
    answers = await asyncio.gather(*(hosts[number % 2].refresh(token) for number in range(USES)))
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 503}, str(statuses)
    successors = {answer.data["refresh_token"] for answer in answers if answer.status == 200}
    assert len(successors) == 1, f"{len(successors)} successors"
    assert (await hosts[0].refresh(successors.pop())).status == 200
    return statuses
