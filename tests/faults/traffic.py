"""Load that goes on while something breaks, with a record of every request."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.faults.http import Answer, Client, NoAnswer

Call = Callable[[], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request: when it was sent and answered (monotonic), its status, 0 where there was no answer."""

    began: float
    ended: float
    status: int
    retry_after: str | None
    note: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Load:
    """What was sent so far, and how many requests are under way."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.under_way = 0

    def between(self, start: float, end: float = float("inf")) -> list[Sent]:
        """Requests that were sent in this time."""
        return [sent for sent in self.sent if start <= sent.began < end]

    async def call(self, call: Call) -> Answer | None:
        """Make one request and note it down; None where there was no answer."""
        began = time.monotonic()
        self.under_way += 1
        try:
            answer = await call()
        except NoAnswer as error:
            self.sent.append(Sent(began, time.monotonic(), 0, None, str(error)))
            return None
        finally:
            self.under_way -= 1
        retry_after = answer.headers.get("retry-after")
        self.sent.append(
            Sent(began, time.monotonic(), answer.status, retry_after, answer.body[:200].decode())
        )
        return answer


@asynccontextmanager
async def load(calls: Sequence[Call], *, pause: float = 0.05) -> AsyncIterator[Load]:
    """Repeat each call, one task for each, until the block ends; what is under way then is waited for."""
    running, going_on = Load(), True

    async def repeat(call: Call) -> None:
        while going_on:
            await running.call(call)
            await asyncio.sleep(pause)

    tasks = [asyncio.create_task(repeat(call)) for call in calls]
    try:
        yield running
    finally:
        going_on = False
        await asyncio.gather(*tasks)


def statuses(sent: Sequence[Sent]) -> Counter[int]:
    """How many requests had which status; 0 stands for no answer."""
    return Counter(one.status for one in sent)


async def database_calls(client: Client, *, users: int = 2) -> list[Call]:
    """A login, a refresh that follows its own chain, and a read of the profile, for each of some users."""
    calls: list[Call] = []
    for number in range(users):
        email = f"load{number}-{time.monotonic_ns()}@example.com"
        data = await client.account(email)
        calls += [_login(client, email), Chain(client, data["refresh_token"]), _profile(client, data)]
    return calls


def _login(client: Client, email: str) -> Call:
    return lambda: client.log_in(email)


def _profile(client: Client, data: dict[str, str]) -> Call:
    return lambda: client.get("/api/profile", token=data["access_token"])


class Chain:
    """Refreshes with the latest token that it got, as a client does that retries after a lost answer."""

    def __init__(self, client: Client, refresh_token: str) -> None:
        self._client = client
        self._token = refresh_token

    async def __call__(self) -> Answer:
        answer = await self._client.refresh(self._token)
        if answer.status == 200:
            self._token = answer.data["refresh_token"]
        return answer


def assert_refused_in_good_order(sent: Sequence[Sent]) -> None:
    """Only 200 and 503 with Retry-After: no 500, no cut connection."""
    bad = [one for one in sent if one.status not in {200, 201, 503}]
    assert not bad, f"{statuses(bad)}: {bad[0].note}"
    assert all(one.retry_after for one in sent if one.status == 503), "a 503 without Retry-After"


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float, interval: float = 0.02) -> float:
    """Wait for a condition and return the seconds it took; fails after `seconds`."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        await asyncio.sleep(interval)
    return time.monotonic() - started
