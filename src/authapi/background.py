"""Work that repeats as long as the process lives, and outlives every failure of a single round."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

# Cancelled in the middle of connecting, a driver leaves its connection behind: a round may finish first.
STOP_SECONDS = 5.0

logger = structlog.stdlib.get_logger("authapi.background")


async def finish(task: "asyncio.Task[None] | None") -> None:
    """Wait for a task that was told to stop, and cancel it if it takes too long."""
    if task is None:
        return
    _, late = await asyncio.wait({task}, timeout=STOP_SECONDS)
    for straggler in late:
        straggler.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def happens_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, for so long at most; tells whether it has happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


class Repeating:
    """Calls `work` every `seconds`; a round that fails or takes longer than `timeout` is logged and retried.

    Only the first failure of a row is logged, and the recovery.
    """

    def __init__(
        self, name: str, work: Callable[[], Awaitable[object]], *, seconds: float, timeout: float
    ) -> None:
        self._name = name
        self._work = work
        self._seconds = seconds
        self._timeout = timeout
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_failing = False

    def start(self) -> None:
        """Begin; the first round runs at once."""
        self._task = asyncio.create_task(self._repeat(), name=self._name)

    async def stop(self) -> None:
        """Let the round that is under way finish, for some seconds."""
        self._stopping.set()
        await finish(self._task)

    async def _repeat(self) -> None:
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(self._timeout):
                    await self._work()
            except Exception as error:
                if not self.is_failing:
                    logger.error("background.failed", task=self._name, error=type(error).__name__)
                self.is_failing = True
            else:
                if self.is_failing:
                    logger.info("background.recovered", task=self._name)
                self.is_failing = False
            await happens_within(self._stopping, self._seconds)
