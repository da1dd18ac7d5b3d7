"""ASVS 15.2.5, 15.4.4: hashing is bounded, fair between callers, and never stops the event loop."""

import asyncio
import contextvars
import gc
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from authapi.security.hashing_places import HashingPoolFull, HashingRefused
from authapi.security.hashing_pool import (
    HashingDeadlineExceeded,
    HashingPool,
    HashingPoolClosed,
    HashingUnwanted,
)
from authapi.security.passwords import PasswordHasher

MakePool = Callable[..., HashingPool]


class Gate:
    """Work that lasts until it is opened, so that a test decides when a thread becomes free."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.order: list[str] = []

    def hold(self) -> None:
        assert self.opened.wait(10)

    def note(self, name: str) -> str:
        self.order.append(name)
        return name


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def make_pool(gate: Gate) -> Iterator[MakePool]:
    pools: list[HashingPool] = []

    def make(
        workers: int = 1,
        queue_size: int = 8,
        deadline_seconds: float = 5.0,
        on_wait: Callable[[float], None] | None = None,
    ) -> HashingPool:
        pool = HashingPool(
            workers=workers, queue_size=queue_size, deadline_seconds=deadline_seconds, on_wait=on_wait
        )
        pools.append(pool)
        return pool

    yield make
    gate.opened.set()
    for pool in pools:
        pool.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the state is set by threads, which know no asyncio.Event
            await asyncio.sleep(0.001)


async def occupy(pool: HashingPool, gate: Gate) -> asyncio.Task[None]:
    """Keep one thread of the pool busy until the gate opens."""
    busy = pool.running
    task = asyncio.create_task(pool.run(gate.hold, fairness_key="occupier"))
    await until(lambda: pool.running == busy + 1)
    return task


class TestRun:
    async def test_returns_the_result_from_a_thread_of_its_own(self, make_pool: MakePool) -> None:
        def work(number: int, text: str) -> tuple[int, str, str]:
            return number, text, threading.current_thread().name

        number, text, name = await make_pool().run(work, 7, "x")
        assert (number, text) == (7, "x")
        assert name.startswith("authapi-hashing-")

    async def test_raises_what_the_work_raises(self, make_pool: MakePool) -> None:
        pool = make_pool()

        def fail() -> None:
            raise KeyError("inner")

        with pytest.raises(KeyError, match="inner"):
            await pool.run(fail)
        assert await pool.run(lambda: "still alive") == "still alive"

    async def test_carries_the_callers_context(self, make_pool: MakePool) -> None:
        request_id = contextvars.ContextVar("request_id", default="none")
        request_id.set("r-1")
        assert await make_pool().run(request_id.get) == "r-1"

    async def test_200_in_parallel(self, make_pool: MakePool) -> None:
        pool = make_pool(workers=2, queue_size=400, deadline_seconds=30)
        hasher = PasswordHasher(rounds=4)
        hashes = await asyncio.gather(*(pool.run(hasher.hash, str(n)) for n in range(200)))
        outcomes = await asyncio.gather(*(pool.run(hasher.verify, str(n), hashes[n]) for n in range(200)))
        assert all(outcome.matches for outcome in outcomes)
        assert pool.hashes_total == 400
        assert (pool.queued, pool.running) == (0, 0)

    async def test_no_more_threads_than_workers(self, make_pool: MakePool) -> None:
        pool = make_pool(workers=3, queue_size=64)
        lock, now, most = threading.Lock(), 0, 0

        def work() -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.005)
            with lock:
                now -= 1

        await asyncio.gather(*(pool.run(work) for _ in range(30)))
        assert most == 3

    async def test_warm(self, make_pool: MakePool) -> None:
        pool = make_pool()
        hasher = PasswordHasher(rounds=4)
        await pool.warm(lambda: hasher.verify_dummy("warm"))
        assert pool.hashes_total == 1

    @pytest.mark.parametrize(("workers", "queue_size"), [(0, 1), (1, 0)])
    def test_impossible_sizes(self, workers: int, queue_size: int) -> None:
        with pytest.raises(ValueError, match="at least one"):
            HashingPool(workers=workers, queue_size=queue_size)

    async def test_the_event_loop_stays_responsive(self, make_pool: MakePool) -> None:
        pool = make_pool(workers=2, queue_size=64, deadline_seconds=60)
        hasher = PasswordHasher(rounds=10)
        hashing = asyncio.gather(*(pool.run(hasher.hash, "x") for _ in range(10)))
        lags = []
        while not hashing.done():
            started = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(time.perf_counter() - started - 0.005)
        await hashing
        lags.sort()
        # One hash takes 60 ms and more: on the loop, every lag would be as long.
        assert lags[len(lags) // 2] < 0.05
        assert lags[int(len(lags) * 0.9)] < 0.2

    async def test_the_password_is_not_kept(self, make_pool: MakePool) -> None:
        class Password:
            pass

        pool = make_pool()

        def succeed(_: Password) -> None:
            return None

        def fail(_: Password) -> None:
            raise RuntimeError

        gc.disable()
        try:
            for work in (succeed, fail):
                password = Password()
                kept = weakref.ref(password)
                with suppress(RuntimeError):
                    await pool.run(work, password)
                del password
                await until(lambda kept=kept: kept() is None)  # type: ignore[misc]
        finally:
            gc.enable()


class TestQueue:
    async def test_a_full_queue_refuses_at_once(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(queue_size=2)
        holder = await occupy(pool, gate)
        waiting = [asyncio.create_task(pool.run(gate.note, "a", fairness_key=key)) for key in "xy"]
        await until(lambda: pool.queued == 2)
        started = time.perf_counter()
        with pytest.raises(HashingPoolFull) as caught:
            await pool.run(gate.note, "b")
        assert time.perf_counter() - started < 0.2
        assert caught.value.retry_after >= 1
        gate.opened.set()
        await asyncio.gather(holder, *waiting)
        assert gate.order == ["a", "a"]

    async def test_the_estimate_follows_the_queue(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(queue_size=30, deadline_seconds=60)
        for _ in range(3):
            await pool.run(time.sleep, 0.2)
        holder = await occupy(pool, gate)
        waiting = [asyncio.create_task(pool.run(gate.note, "a")) for _ in range(20)]
        await until(lambda: pool.queued == 20)
        with pytest.raises(HashingPoolFull) as caught:
            await pool.run(gate.note, "b")
        # 21 jobs of 0.2 s on one thread.
        assert 3.5 < caught.value.retry_after < 12
        gate.opened.set()
        await asyncio.gather(holder, *waiting)

    async def test_no_hope_before_the_deadline_is_refused_at_once(
        self, make_pool: MakePool, gate: Gate
    ) -> None:
        pool = make_pool(queue_size=20, deadline_seconds=0.5)
        await pool.run(time.sleep, 0.3)
        holder = await occupy(pool, gate)
        waiting = asyncio.create_task(pool.run(gate.note, "a"))
        await until(lambda: pool.queued == 1)
        with pytest.raises(HashingPoolFull):
            await pool.run(gate.note, "a")
        gate.opened.set()
        await asyncio.gather(holder, waiting)

    async def test_an_idle_pool_takes_work_however_slow_the_last_was(self, make_pool: MakePool) -> None:
        pool = make_pool(deadline_seconds=0.1)
        await pool.run(time.sleep, 0.3)
        assert await pool.run(lambda: "done") == "done"

    async def test_waiting_longer_than_the_deadline(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(deadline_seconds=0.05)
        holder = await occupy(pool, gate)
        with pytest.raises(HashingDeadlineExceeded) as caught:
            await pool.run(gate.note, "late")
        assert caught.value.retry_after >= 1
        assert isinstance(caught.value, HashingRefused)
        assert pool.queued == 0
        gate.opened.set()
        await holder
        assert gate.order == []

    async def test_the_deadline_is_for_waiting_not_for_running(self, make_pool: MakePool) -> None:
        pool = make_pool(deadline_seconds=0.05)

        def work() -> str:
            time.sleep(0.15)
            return "done"

        assert await pool.run(work) == "done"

    async def test_the_deadline_holds_when_the_loop_is_stalled(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(deadline_seconds=0.05)
        holder = await occupy(pool, gate)
        late = asyncio.create_task(pool.run(gate.note, "late"))
        await until(lambda: pool.queued == 1)
        # The timer cannot fire while the loop sleeps; the thread becomes free in the meantime.
        threading.Timer(0.15, gate.opened.set).start()
        time.sleep(0.3)
        with pytest.raises(HashingDeadlineExceeded):
            await late
        await holder
        assert gate.order == []
        assert pool.running == 0

    async def test_a_cancelled_waiter_is_never_computed(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool()
        holder = await occupy(pool, gate)
        tasks = [asyncio.create_task(pool.run(gate.note, name)) for name in "abc"]
        await until(lambda: pool.queued == 3)
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        assert pool.queued == 2
        gate.opened.set()
        await asyncio.gather(holder, tasks[0], tasks[2])
        assert gate.order == ["a", "c"]

    async def test_what_nobody_wants_any_more_is_never_computed(
        self, make_pool: MakePool, gate: Gate
    ) -> None:
        pool = make_pool()
        holder = await occupy(pool, gate)
        left = [False]
        tasks = [
            asyncio.create_task(pool.run(gate.note, name, is_unwanted=is_unwanted))
            for name, is_unwanted in (("a", lambda: left[0]), ("b", lambda: False))
        ]
        await until(lambda: pool.queued == 2)
        left[0] = True
        gate.opened.set()
        with pytest.raises(HashingUnwanted):
            await tasks[0]
        await asyncio.gather(holder, tasks[1])
        assert gate.order == ["b"]
        assert (pool.queued, pool.running, pool.places.taken) == (0, 0, 0)

    async def test_cancelling_running_work_drops_its_result(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool()
        holder = await occupy(pool, gate)
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder
        assert pool.running == 1
        gate.opened.set()
        assert await pool.run(gate.note, "next") == "next"
        assert (pool.queued, pool.running) == (0, 0)

    async def test_1000_cancellations_leave_nothing(self, make_pool: MakePool) -> None:
        pool = make_pool(workers=2, queue_size=1000)
        tasks = [
            asyncio.create_task(pool.run(time.sleep, 0.001, fairness_key=str(n % 7))) for n in range(1000)
        ]
        await until(lambda: pool.hashes_total > 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: pool.running == 0)
        assert pool.queued == 0
        assert pool.hashes_total < 1000


class TestFairness:
    async def test_addresses_take_turns(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(queue_size=256)
        holder = await occupy(pool, gate)
        flood = [
            asyncio.create_task(pool.run(gate.note, "flood", fairness_key="192.0.2.1")) for _ in range(100)
        ]
        await until(lambda: pool.queued == 100)
        others = [
            asyncio.create_task(pool.run(gate.note, name, fairness_key=name))
            for name in ("198.51.100.1", "198.51.100.1", "198.51.100.2")
        ]
        await until(lambda: pool.queued == 103)
        gate.opened.set()
        await asyncio.gather(holder, *flood, *others)
        assert gate.order[:5] == ["flood", "198.51.100.1", "198.51.100.2", "flood", "198.51.100.1"]
        assert len(gate.order) == 103

    async def test_one_address_cannot_fill_the_queue(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(queue_size=6)
        holder = await occupy(pool, gate)
        flood = [
            asyncio.create_task(pool.run(gate.note, f"flood-{n}", fairness_key="192.0.2.1")) for n in range(9)
        ]
        await until(lambda: sum(task.done() for task in flood) == 5)
        assert pool.queued == 4
        honest = asyncio.create_task(pool.run(gate.note, "honest", fairness_key="198.51.100.1"))
        await until(lambda: pool.queued == 5)
        gate.opened.set()
        done = await asyncio.gather(holder, honest, *flood, return_exceptions=True)
        assert sum(isinstance(one, HashingPoolFull) for one in done) == 5
        assert gate.order == ["flood-0", "honest", "flood-1", "flood-2", "flood-3"]

    async def test_equal_shares_are_not_taken_away(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(queue_size=2)
        holder = await occupy(pool, gate)
        tasks = [asyncio.create_task(pool.run(gate.note, name, fairness_key=name)) for name in "ab"]
        await until(lambda: pool.queued == 2)
        with pytest.raises(HashingPoolFull):
            await pool.run(gate.note, "c", fairness_key="c")
        gate.opened.set()
        await asyncio.gather(holder, *tasks)

    async def test_a_place_given_up_last_leaves_no_trace(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(deadline_seconds=0.05)
        holder = await occupy(pool, gate)
        for number in range(5):
            with pytest.raises(HashingDeadlineExceeded):
                await pool.run(gate.note, "x", fairness_key=f"192.0.2.{number}")
        assert pool._queue._queues == {}
        gate.opened.set()
        await holder


class TestPlace:
    async def test_is_enough_for_all_that_is_hashed_in_it(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(queue_size=1)
        holder = await occupy(pool, gate)
        with pool.places.hold("a"):
            with pytest.raises(HashingPoolFull):
                pool.places.expect("b")
            within = asyncio.create_task(pool.run(gate.note, "within", fairness_key="a"))
            await until(lambda: pool.queued == 1)
            gate.opened.set()
            await asyncio.gather(holder, within)
        pool.places.expect("b")
        assert (pool.places.taken, dict(pool.places._taken_by)) == (0, {})

    async def test_is_given_back_by_who_leaves(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool(queue_size=1)
        holder = await occupy(pool, gate)
        waiting = asyncio.create_task(pool.run(gate.note, "a"))
        await until(lambda: pool.queued == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        pool.places.expect("b")
        gate.opened.set()
        await holder
        assert pool.places.taken == 0


class TestObserving:
    async def test_waits_are_reported(self, make_pool: MakePool, gate: Gate) -> None:
        waits: list[float] = []
        pool = make_pool(on_wait=waits.append)
        holder = await occupy(pool, gate)
        waiting = asyncio.create_task(pool.run(gate.note, "x"))
        await asyncio.sleep(0.05)
        assert (pool.queued, pool.running) == (1, 1)
        gate.opened.set()
        await asyncio.gather(holder, waiting)
        assert len(waits) == 2
        assert waits[0] < waits[1]
        assert waits[1] >= 0.04

    async def test_a_failing_observer_stops_nothing(
        self, make_pool: MakePool, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(_: float) -> None:
            raise OSError("metrics are down")

        with caplog.at_level(logging.ERROR):
            assert await make_pool(on_wait=fail).run(lambda: 1) == 1
        assert "observer of hashing waits failed" in caplog.text


class TestPriority:
    @pytest.mark.skipif(sys.platform != "linux", reason="niceness is per thread on Linux only")
    async def test_threads_yield_to_the_event_loop(self, make_pool: MakePool) -> None:
        def niceness() -> int:
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        assert await make_pool().run(niceness) == max(10, niceness())

    async def test_a_refusal_is_ignored(self, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: int) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "setpriority", refuse)
        assert await make_pool().run(lambda: 1) == 1

    async def test_elsewhere_nothing_is_changed(
        self, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[tuple[int, ...]] = []
        monkeypatch.setattr(os, "setpriority", lambda *arguments: calls.append(arguments))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", "darwin")
            pool = make_pool()
            assert await pool.run(lambda: 1) == 1
        assert calls == []


class TestClosing:
    async def test_running_work_ends_waiting_work_is_refused(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool()
        holder = await occupy(pool, gate)
        waiting = asyncio.create_task(pool.run(gate.note, "x"))
        await until(lambda: pool.queued == 1)
        closing = asyncio.create_task(asyncio.to_thread(pool.close))
        with pytest.raises(HashingPoolClosed):
            await waiting
        with pytest.raises(HashingPoolClosed):
            await pool.run(gate.note, "y")
        gate.opened.set()
        await asyncio.gather(holder, closing)
        assert gate.order == []
        assert not [thread for thread in pool._threads if thread.is_alive()]

    def test_closing_twice(self) -> None:
        pool = HashingPool(workers=2, queue_size=2)
        pool.close()
        pool.close()

    def test_several_loops_share_a_pool(self, make_pool: MakePool) -> None:
        pool = make_pool(workers=2, queue_size=96)
        results: list[list[int]] = []

        async def use() -> list[int]:
            return await asyncio.gather(*(pool.run(pow, n, 2) for n in range(20)))

        threads = [threading.Thread(target=lambda: results.append(asyncio.run(use()))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert results == [[n * n for n in range(20)]] * 3

    def test_a_loop_that_ends_first_blocks_nobody(self, make_pool: MakePool, gate: Gate) -> None:
        pool = make_pool()

        async def abandon() -> tuple[asyncio.Task[None], asyncio.Task[str]]:
            holder = await occupy(pool, gate)
            waiting = asyncio.create_task(pool.run(gate.note, "nobody waits"))
            await until(lambda: pool.queued == 1)
            return holder, waiting

        loop = asyncio.new_event_loop()
        # It would report the tasks that nobody will ever finish.
        loop.set_exception_handler(lambda *_: None)
        tasks = loop.run_until_complete(abandon())
        # Not asyncio.run, which would cancel the tasks first.
        loop.close()
        gate.opened.set()
        assert asyncio.run(pool.run(gate.note, "next")) == "next"
        assert gate.order == ["next"]
        assert (pool.queued, pool.running) == (0, 0)
        del tasks
