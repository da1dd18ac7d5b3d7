"""A bounded pool of low-priority threads for password hashing, fair between callers.

bcrypt takes a quarter of a second of CPU. On the event loop, or in a shared executor, a burst of logins would
stop everything else (ASVS 15.2.5, 15.4.4). Without a bound, callers would queue for minutes and get an answer
that nobody waits for any more.
"""

import asyncio
import contextvars
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, TypeVarTuple

from authapi.security.fair_queue import FairQueue
from authapi.security.hashing_places import HashingPlaces, HashingRefused

__all__ = [
    "HashingDeadlineExceeded",
    "HashingPool",
    "HashingPoolClosed",
    "HashingUnwanted",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger(__name__)

_NICENESS: Final = 10


class HashingDeadlineExceeded(HashingRefused):
    """No thread became free before the deadline."""


class HashingPoolClosed(HashingRefused):
    """The pool is shutting down."""


class HashingUnwanted(HashingRefused):
    """The client disconnected before its job's turn came, so nothing was computed."""


@dataclass(eq=False, slots=True)
class _Job:
    call: Callable[[], Any] = field(repr=False)
    key: str
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    queued_at: float
    is_unwanted: Callable[[], bool]

    def deliver(self, result: Any, error: BaseException | None = None) -> None:
        """Hand the outcome to the waiting task, from any thread."""
        # The loop is closed when its program ended first; then nobody waits.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class HashingPool:
    """Runs callables on `workers` own threads; callers may sit on any event loop.

    Each needs one of the `places`, and the keys that wait take turns: one of them cannot keep the others out.
    `on_wait` is called on the worker thread with the seconds a job has waited. `hashes_total` only grows. Raises
    ValueError for fewer than one worker or place.
    """

    def __init__(
        self,
        *,
        workers: int,
        queue_size: int,
        deadline_seconds: float = 5.0,
        on_wait: Callable[[float], None] | None = None,
    ) -> None:
        if workers < 1 or queue_size < 1:
            raise ValueError("a hashing pool needs at least one worker and one place in the queue")
        self.places = HashingPlaces(workers=workers, queue_size=queue_size, deadline_seconds=deadline_seconds)
        self._deadline = deadline_seconds
        self._on_wait = on_wait
        # Guards everything below; the condition wakes the workers.
        self._state = threading.Condition()
        self._queue = FairQueue[_Job]()
        self._running = 0
        self._is_closed = False
        self.hashes_total = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"authapi-hashing-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def queued(self) -> int:
        """Jobs that wait for a thread."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Jobs that are being computed."""
        return self._running

    async def run(
        self,
        fn: Callable[[*Ts], T],
        *args: *Ts,
        fairness_key: str = "",
        is_unwanted: Callable[[], bool] = lambda: False,
    ) -> T:
        """Return `fn(*args)`, computed on one of the pool's threads.

        Raises HashingPoolFull at once, HashingDeadlineExceeded after the deadline, HashingPoolClosed, and
        whatever `fn` raises. A cancelled caller's job is not computed unless it has already begun, nor one for
        which `is_unwanted`, called on the thread when its turn has come, says so (HashingUnwanted).
        """
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        job = _Job(
            call=lambda: context.run(fn, *args),
            key=fairness_key,
            loop=loop,
            future=loop.create_future(),
            queued_at=time.monotonic(),
            is_unwanted=is_unwanted,
        )
        timer = loop.call_later(self._deadline, self._expire, job)
        try:
            with self.places.hold(fairness_key):
                self._enqueue(job)
                result: T = await job.future
        except asyncio.CancelledError:
            self._withdraw(job)
            raise
        finally:
            timer.cancel()
            # An error leads to this frame, and the future to the error: without the job there is no cycle,
            # and the password goes when the caller lets go of it.
            del job
        return result

    async def warm(self, fn: Callable[[], object]) -> None:
        """Compute `fn` once, so that loading and measuring are done before the first caller waits for it."""
        await self.run(fn)

    def close(self) -> None:
        """Refuse waiting jobs and every new one, let the running ones finish, and wait for the threads."""
        with self._state:
            self._is_closed = True
            waiting = self._queue.drain()
            self._state.notify_all()
        for job in waiting:
            job.deliver(None, HashingPoolClosed())
        for thread in self._threads:
            thread.join()

    def _enqueue(self, job: _Job) -> None:
        with self._state:
            if self._is_closed:
                raise HashingPoolClosed()
            self._queue.push(job.key, job)
            self._state.notify()

    def _withdraw(self, job: _Job) -> bool:
        with self._state:
            return self._queue.remove(job.key, job)

    def _expire(self, job: _Job) -> None:
        if self._withdraw(job):
            self._give_up(job, HashingDeadlineExceeded)

    def _give_up(self, job: _Job, error: type[HashingRefused]) -> None:
        job.deliver(None, error(self.places.retry_after()))

    def _work(self) -> None:
        _lower_priority()
        while self._work_one():
            pass

    def _work_one(self) -> bool:
        # A frame of its own: while the thread idles, no local keeps the last password alive (ASVS 11.7.2).
        job = self._next()
        if job is None:
            return False
        waited = time.monotonic() - job.queued_at
        # The loop's own timer comes late when the loop is stalled or gone.
        if waited > self._deadline or job.loop.is_closed():
            self._finish(seconds=None)
            self._give_up(job, HashingDeadlineExceeded)
            return True
        if job.is_unwanted():
            self._finish(seconds=None)
            job.deliver(None, HashingUnwanted())
            return True
        started = time.monotonic()
        result, error = None, None
        try:
            self._observe(waited)
            result = job.call()
        except BaseException as exc:
            error = exc
        self._finish(seconds=time.monotonic() - started)
        job.deliver(result, error)
        # The same cycle as in `run`: the error's traceback holds this frame.
        del job, error
        return True

    def _next(self) -> _Job | None:
        """Wait for a job of the key whose turn it is; None when the pool closes."""
        with self._state:
            while not self._queue:
                if self._is_closed:
                    return None
                self._state.wait()
            self._running += 1
            return self._queue.pop()

    def _finish(self, *, seconds: float | None) -> None:
        with self._state:
            self._running -= 1
            self.hashes_total += seconds is not None
        if seconds is not None:
            self.places.learn(seconds)

    def _observe(self, waited: float) -> None:
        if self._on_wait is None:
            return
        try:
            self._on_wait(waited)
        except Exception:
            logger.exception("the observer of hashing waits failed")


def _lower_priority() -> None:
    # Linux counts niceness per thread: the event loop gets the CPU first, hashing what is left.
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
