"""What a stranger who guesses one account's password from a thousand addresses gets, and what the owner notices.

    python -m benchmarks.guessing [--tries 10000] [--addresses 1000] [--concurrency 24] [--rounds 8]

Two processes of authapi on one PostgreSQL and one Redis, with the limits by address as they are by default: the
addresses come by a trusted proxy. The stranger uses three routes that take a password, and several spellings of
the address, through both processes; halfway one of them is killed and started again. Meanwhile the owner logs in
from a device that has logged in before. Then the waits are erased from the database, as if the stranger had sat
them out, to see what a whole day of guessing comes to. Fewer rounds than in production only make it quicker.
"""

import argparse
import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import update

from authapi.database import Database
from authapi.models import LoginThrottle
from authapi.services.login_throttle import ACCOUNT
from benchmarks.figures import Figures, arguments_of, database_url, percentile, read_counter, run_authapi
from tests.support.accounts import PASSWORD
from tests.support.processes import scratch_directory
from tests.support.redis_server import start_redis
from tests.support.workers import SECRET_KEY, Worker, running_workers, worker_environment

EMAIL = "user@example.com"
SPELLINGS = (EMAIL, "User@Example.com", "USER@EXAMPLE.COM", f" {EMAIL} ", "ｕｓｅｒ@example.com")
HASHES = "authapi_password_hashes_total"
OWNER_LOGINS = 200
OWNER_SECONDS = 2.0
OWNER_PAUSE = 0.02
# After the stranger's tries, these are made with the waits erased.
TRIES_WITHOUT_WAITS = 3000


class Site:
    """The running processes, and how to ask them as somebody behind the proxy."""

    def __init__(self, workers: list[Worker], client: httpx.AsyncClient) -> None:
        self.workers = workers
        self.client = client
        self._up = list(workers)
        self._turn = count()
        self._under_way: Counter[str] = Counter()
        self._hashes_of_killed = 0

    async def post(self, path: str, *, address: IPv4Address, **options: Any) -> httpx.Response:
        """Ask one of the processes that are up, in turns."""
        worker = self._up[next(self._turn) % len(self._up)]
        headers = {"X-Forwarded-For": str(address)} | options.pop("headers", {})
        self._under_way[worker.name] += 1
        try:
            return await self.client.post(f"{worker.url}{path}", headers=headers, **options)
        finally:
            self._under_way[worker.name] -= 1

    async def log_in(self, address: IPv4Address, device_token: str | None) -> httpx.Response:
        """The owner's login."""
        body = {"email": EMAIL, "password": PASSWORD, "device_token": device_token}
        return await self.post("/api/auth/login", address=address, json=body)

    async def guess(self, number: int, address: IPv4Address) -> httpx.Response:
        """A wrong password, on the route and with the spelling whose turn it is."""
        email, password = SPELLINGS[number % len(SPELLINGS)], f"Wrong password {number}"
        match number % 3:
            case 0:
                body = {"email": email, "password": password}
                return await self.post("/api/auth/login", address=address, json=body)
            case 1:
                form = {"grant_type": "password", "username": email, "password": password}
                return await self.post("/api/auth/token", address=address, data=form)
            case _:
                basic = httpx.BasicAuth(email, password)
                return await self.post("/login", address=address, auth=basic)

    async def restart(self, worker: Worker) -> None:
        """Kill a process and start it again, while the others serve."""
        self._up.remove(worker)
        # What is under way there ends first: the counter of a killed process is lost.
        while self._under_way[worker.name]:  # noqa: ASYNC110 - short, and once
            await asyncio.sleep(0.05)
        self._hashes_of_killed += int(await read_counter(self.client, worker.url, HASHES))
        worker.kill()
        worker.launch()
        await worker.wait_until_ready()
        # Each start computes one hash to warm up.
        self._hashes_of_killed -= 1
        self._up.append(worker)

    async def hashes(self) -> int:
        """Passwords that were hashed so far, in all processes."""
        now = [await read_counter(self.client, worker.url, HASHES) for worker in self.workers]
        return int(sum(now)) + self._hashes_of_killed


class Owner:
    """Logs in again and again, on a device that he has used before, wherever the network puts him."""

    def __init__(self, site: Site, device_token: str) -> None:
        self.seconds: list[float] = []
        self.refusals: Counter[str] = Counter()
        self._site = site
        self._device_token = device_token
        self._addresses = addresses("12.0.0.1")

    async def log_in(self) -> None:
        started = time.perf_counter()
        response = await self._site.log_in(next(self._addresses), self._device_token)
        self.seconds.append(time.perf_counter() - started)
        if response.status_code == 200:
            self._device_token = response.json()["data"]["device_token"]
        else:
            self.refusals[code_of(response)] += 1

    async def go_on(self, is_over: asyncio.Event) -> None:
        """Until then: what comes later meets nobody."""
        while not is_over.is_set():
            await self.log_in()
            await asyncio.sleep(OWNER_PAUSE)

    @property
    def successes(self) -> int:
        return len(self.seconds) - self.refusals.total()


def addresses(first: str) -> Iterator[IPv4Address]:
    return (IPv4Address(first) + number for number in count())


def code_of(response: httpx.Response) -> str:
    """The error's code; the route with bare bodies has only a sentence."""
    if not response.headers["Content-Type"].startswith("application/json"):
        return response.text.partition(".")[0]
    error = response.json().get("error")
    return str(error["code"] if isinstance(error, dict) else error)


async def hammer(site: Site, numbers: range, *, sources: int, concurrency: int) -> Counter[str]:
    """Guess from `sources` addresses in turns, `concurrency` at a time; returns how many got which answer."""
    answers: Counter[str] = Counter()
    queue = iter(numbers)

    async def guess_on() -> None:
        for number in queue:
            # Divided: the same address must not always come by the same route.
            turn, source = divmod(number, sources)
            response = await site.guess(turn + source, IPv4Address("11.0.0.0") + source)
            answers[f"{response.status_code} {code_of(response)}"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(guess_on())
    return answers


async def erase_waits(url: str, is_over: asyncio.Event) -> None:
    """Let every wait be over, except that of a counter at its limit."""
    database = Database(url, pool_size=1)
    statement = update(LoginThrottle).where(
        LoginThrottle.blocked_until.is_not(None), LoginThrottle.failures < ACCOUNT.limit
    )
    while not is_over.is_set():
        async with database.unit_of_work() as db:
            await db.execute(statement.values(blocked_until=None))
        await asyncio.sleep(0.005)
    await database.close()


async def measure(site: Site, url: str, arguments: argparse.Namespace, figures: Figures) -> None:
    home = IPv4Address("12.255.0.1")
    body = {"email": EMAIL, "password": PASSWORD, "full_name": "Ada Lovelace"}
    response = await site.post("/api/auth/register", address=home, json=body)
    assert response.status_code == 201, response.text
    owner = Owner(site, response.json()["data"]["device_token"])
    before, is_over = await site.hashes(), asyncio.Event()
    options = {"sources": arguments.addresses, "concurrency": arguments.concurrency}

    logging_in = asyncio.create_task(owner.go_on(is_over))
    started, half = time.perf_counter(), arguments.tries // 2
    answers = await hammer(site, range(half), **options)
    seconds = time.perf_counter() - started
    await site.restart(site.workers[0])
    started = time.perf_counter()
    answers += await hammer(site, range(half, arguments.tries), **options)
    # A fast machine needs more guesses to keep them up for as long as the owner's logins take.
    while len(owner.seconds) < min(OWNER_LOGINS, arguments.tries // 50):
        more = range(answers.total(), answers.total() + arguments.addresses // 2)
        answers += await hammer(site, more, **options)
    seconds += time.perf_counter() - started
    is_over.set()
    await logging_in

    strangers, tries = await site.hashes() - before - owner.successes, answers.total()
    is_out = not any(answer.startswith("2") for answer in answers)
    figures.add(
        f"{tries} guesses, {arguments.addresses} addresses",
        is_kept=strangers <= ACCOUNT.limit and is_out,
        hashes=strangers,
        guesses_per_second=tries / seconds,
        answers=dict(answers.most_common()),
    )
    share = owner.successes / len(owner.seconds)
    figures.add(
        "the owner meanwhile, from his device",
        is_kept=share >= 0.99 and max(owner.seconds) < OWNER_SECONDS,
        logins=len(owner.seconds),
        success=share,
        refusals=dict(owner.refusals),
        median_s=percentile(owner.seconds, 0.5),
        p95_s=percentile(owner.seconds, 0.95),
        max_s=max(owner.seconds),
    )

    fresh = addresses("13.0.0.1")
    codes = {}
    # The last wait may be over by now; one more try begins the next.
    await site.guess(0, next(fresh))
    for spelling in SPELLINGS:
        wrong = {"email": spelling, "password": "Wrong password"}
        response = await site.post("/api/auth/login", address=next(fresh), json=wrong)
        codes[spelling] = f"{response.status_code} {code_of(response)}"
    figures.add(
        "every spelling, from new addresses",
        is_kept=set(codes.values()) == {"429 too_many_attempts"},
        answers=codes,
    )

    is_over = asyncio.Event()
    erasing = asyncio.create_task(erase_waits(url, is_over))
    numbers = range(tries, tries + TRIES_WITHOUT_WAITS)
    answers = await hammer(site, numbers, **options)
    is_over.set()
    await erasing
    strangers = await site.hashes() - before - owner.successes
    figures.add(
        f"{TRIES_WITHOUT_WAITS} more, without any wait",
        is_kept=strangers <= ACCOUNT.limit and not any(answer.startswith("2") for answer in answers),
        hashes_of_the_day=strangers,
        answers=dict(answers.most_common()),
    )
    refused_before = owner.refusals.total()
    await owner.log_in()
    figures.add(
        "the owner afterwards",
        is_kept=owner.refusals.total() == refused_before and owner.seconds[-1] < OWNER_SECONDS,
        seconds=owner.seconds[-1],
    )


async def run(
    directory: Path, url: str, redis_url: str, arguments: argparse.Namespace, figures: Figures
) -> None:
    environment = worker_environment(
        directory / "data",
        SECRET_KEY=SECRET_KEY,
        DATABASE__URL=url,
        PASSWORD__BCRYPT_ROUNDS=str(arguments.rounds),
        PROXY__TRUSTED="127.0.0.1",
        RATE_LIMIT__STORAGE_URL=redis_url,
        MAIL__URL=f"file://{directory / 'mails'}",
        LOG__LEVEL="error",
    )
    # The default: five a minute for each address and route.
    del environment["AUTHAPI_RATE_LIMIT__AUTH"]
    run_authapi(directory, environment, "db", "upgrade")
    async with (
        running_workers(directory, environment, number=2) as workers,
        # The server closes what has been idle for five seconds; a client that uses it just then gets nothing.
        httpx.AsyncClient(timeout=60, limits=httpx.Limits(keepalive_expiry=2)) as client,
    ):
        await measure(Site(workers, client), url, arguments, figures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--addresses", type=int, default=1_000)
    parser.add_argument("--concurrency", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=8, help="of bcrypt")
    arguments, options = arguments_of(parser)
    figures = Figures("guessing", options | {"workers": 2})
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch_directory())
        url = stack.enter_context(database_url("postgresql", directory))
        redis = stack.enter_context(start_redis(directory))
        asyncio.run(run(directory, url, redis.url, arguments, figures))
    return figures.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
