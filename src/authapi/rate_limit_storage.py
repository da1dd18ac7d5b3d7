"""Where spent requests are counted: in this process, or in Redis with this process as the safety net.

Both keep the instants of the allowed requests of one window (a moving window), so no burst around an edge
exceeds a limit, and a refused request costs nothing. The storages of `limits.aio` are not used: they read
the wall clock of the caller, so a stepped clock resets or freezes a limit; its memory storage grows without
bound and walks all keys, through the default executor, on every request.
"""

import asyncio
import logging
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)

REDIS_TIMEOUT = 0.25
"""Seconds that a request may wait for Redis."""

RETRY_INTERVAL = 1.0
"""Seconds between two attempts while Redis is out; one request makes the attempt, the others do not wait."""

MAX_KEYS = 100_000
"""Keys that one process holds, some 35 MB for 5/minute; beyond, the longest unseen are forgotten."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What one request did to a limit; `reset_after`: seconds until the oldest counted request leaves."""

    is_allowed: bool
    limit: int
    remaining: int
    reset_after: float


class Storage(Protocol):
    async def spend(self, key: str, *, limit: int, window: int) -> Spending:
        """Take one of `limit` requests in `window` seconds, if there is one left."""

    async def close(self) -> None:
        """Release what the storage holds."""


@dataclass(slots=True)
class _SpendLog:
    window: int
    instants: "array[float]"  # subscriptable from Python 3.12 only


class MemoryStorage:
    """Counts in this process by the monotonic clock: N workers allow N times the limit.

    An attacker with more than `max_keys` addresses can evict counters and so reset limits, but each of those
    addresses has a limit of its own anyway: they gain nothing by it.
    """

    def __init__(self, *, max_keys: int = MAX_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self._logs: OrderedDict[str, _SpendLog] = OrderedDict()

    def __len__(self) -> int:
        return len(self._logs)

    async def spend(self, key: str, *, limit: int, window: int) -> Spending:
        # No await in here: that is what makes it atomic.
        now = self._clock()
        spend_log = self._logs.get(key)
        if spend_log is None:
            self._make_room(now)
            spend_log = self._logs[key] = _SpendLog(window, array("d"))
        else:
            # Also for a refused request: evicting a client that keeps trying would reset its limit.
            self._logs.move_to_end(key)
        instants = spend_log.instants
        del instants[: bisect_right(instants, now - window)]
        is_allowed = len(instants) < limit
        if is_allowed:
            instants.append(now)
        return Spending(
            is_allowed=is_allowed,
            limit=limit,
            remaining=limit - len(instants),
            reset_after=instants[0] + window - now,
        )

    def take_back(self, key: str) -> None:
        """Forget the newest request that `spend` allowed for a key."""
        spend_log = self._logs.get(key)
        if spend_log is not None and spend_log.instants:
            spend_log.instants.pop()

    def _make_room(self, now: float) -> None:
        """Drop up to two expired keys per new one: nothing piles up, and no request pays for a sweep."""
        for _ in range(2):
            if not self._logs:
                return
            oldest = next(iter(self._logs.values()))
            is_expired = not oldest.instants or oldest.instants[-1] + oldest.window <= now
            if not is_expired and len(self._logs) < self._max_keys:
                return
            self._logs.popitem(last=False)

    async def close(self) -> None:
        self._logs.clear()


class FallbackStorage:
    """Redis while it answers within 250 ms, this process while it does not: never unlimited, never an error.

    Each request is counted here first, and taken back if Redis refuses it. So a worker that has let its limit
    through refuses without asking, a burst makes no load on Redis, and neither an outage nor an emptied Redis
    hands out a fresh allowance: in the worst case workers x limit get through.
    """

    def __init__(self, shared: Storage, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._local = MemoryStorage(clock=clock)
        self._clock = clock
        self._calls: set[asyncio.Task[Spending]] = set()
        self._next_attempt_at = 0.0
        self.is_down = False

    async def spend(self, key: str, *, limit: int, window: int) -> Spending:
        seen = await self._local.spend(key, limit=limit, window=window)
        is_attempt = self.is_down
        if not seen.is_allowed or (is_attempt and self._clock() < self._next_attempt_at):
            return seen
        if is_attempt:
            self._next_attempt_at = self._clock() + RETRY_INTERVAL
        try:
            spending = await self._ask(key, limit=limit, window=window)
        except (OSError, TimeoutError) as error:
            self._failed(error)
            return seen
        if is_attempt:
            self._recovered()
        if not spending.is_allowed:
            self._local.take_back(key)
        return spending

    async def close(self) -> None:
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._local.close()
        await self._shared.close()

    async def _ask(self, key: str, *, limit: int, window: int) -> Spending:
        # A task of its own, left to end by its socket's timeouts: cancelling a command in flight, as a client
        # that hangs up would, can lose its connection or hand its answer to somebody else (CVE-2023-28858).
        call = asyncio.create_task(self._shared.spend(key, limit=limit, window=window))
        self._calls.add(call)
        call.add_done_callback(self._ended)
        # Wait in small steps: in a burst the event loop is late, and one long wait could time out although Redis
        # has answered; between steps such answers are read.
        for _ in range(10):
            if (await asyncio.wait({call}, timeout=REDIS_TIMEOUT / 10))[0]:
                return call.result()
        raise TimeoutError(f"no answer within {REDIS_TIMEOUT} s")

    def _ended(self, call: asyncio.Task[Spending]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # Retrieved here, or asyncio would log it: after the timeout nothing awaits the call.

    def _failed(self, error: Exception) -> None:
        if not self.is_down:
            self.is_down = True
            self._next_attempt_at = self._clock() + RETRY_INTERVAL
            log.error(
                "Redis does not answer; until it does, each worker counts its rate limits alone (%s: %s)",
                type(error).__name__,
                error,
            )

    def _recovered(self) -> None:
        if self.is_down:
            self.is_down = False
            log.info("Redis answers again; the workers share their rate limits")


def create_storage(url: str) -> Storage:
    """Return the storage that `memory://`, `redis://` or `rediss://` names.

    Raises:
        ValueError: the URL is neither, or broken.
    """
    if url == "memory://":
        return MemoryStorage()
    # Here, because importing Redis's client is a good part of a start.
    from authapi.rate_limit_redis import RedisStorage

    return FallbackStorage(RedisStorage(url))
