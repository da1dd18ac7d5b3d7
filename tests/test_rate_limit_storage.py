"""Counting in memory: exact in every window, by a clock that nobody sets, in bounded space."""

import time

import pytest

from authapi.rate_limit_storage import MemoryStorage


class Clock:
    """A monotonic clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestMemoryStorage:
    async def _spend(self, storage: MemoryStorage, count: int, *, key: str = "k") -> int:
        spent = [await storage.spend(key, limit=10, window=60) for _ in range(count)]
        return sum(spending.is_allowed for spending in spent)

    async def test_a_burst_around_the_edge_of_a_window_stays_within_the_limit(self) -> None:
        clock = Clock()
        storage = MemoryStorage(clock=clock)
        assert await self._spend(storage, 1) == 1
        clock.now += 59.9
        assert await self._spend(storage, 20) == 9
        clock.now += 0.2
        assert await self._spend(storage, 20) == 1
        clock.now += 59.5
        assert await self._spend(storage, 20) == 0

    async def test_no_window_of_any_position_holds_more_than_the_limit(self) -> None:
        clock = Clock()
        storage = MemoryStorage(clock=clock)
        allowed: list[float] = []
        for step in range(2000):
            clock.now += (step * 7919 % 100) / 40
            if await self._spend(storage, 1):
                allowed.append(clock.now)
        assert all(later - earlier >= 60 for earlier, later in zip(allowed, allowed[10:], strict=False))
        assert len(allowed) > 300

    async def test_a_stepped_wall_clock_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        storage = MemoryStorage()
        await self._spend(storage, 10)
        for step in (-3600.0, 3600.0):
            moved = time.time() + step
            monkeypatch.setattr(time, "time", lambda moved=moved: moved)
            assert await self._spend(storage, 1) == 0
            assert await self._spend(storage, 1, key=f"other{step}") == 1

    async def test_a_million_addresses_do_not_fill_the_memory(self) -> None:
        clock = Clock()
        storage = MemoryStorage(max_keys=1000, clock=clock)
        for n in range(20_000):
            await storage.spend(f"2001:db8:{n:x}::/64", limit=5, window=60)
        assert len(storage) == 1000

    async def test_the_busiest_keys_are_kept(self) -> None:
        storage = MemoryStorage(max_keys=100, clock=Clock())
        for n in range(1000):
            if n % 50 == 0:
                await self._spend(storage, 1, key="busy")
            await self._spend(storage, 1, key=f"k{n}")
        assert await self._spend(storage, 1, key="busy") == 0

    async def test_expired_keys_go_as_new_ones_come(self) -> None:
        clock = Clock()
        storage = MemoryStorage(clock=clock)
        for n in range(1000):
            await self._spend(storage, 1, key=f"old{n}")
        clock.now += 61
        for n in range(500):
            await self._spend(storage, 1, key=f"new{n}")
        assert len(storage) == 500

    async def test_what_is_taken_back_can_be_spent_again(self) -> None:
        storage = MemoryStorage(clock=Clock())
        assert await self._spend(storage, 20) == 10
        storage.take_back("k")
        assert await self._spend(storage, 20) == 1
        storage.take_back("unknown")
        assert len(storage) == 1
