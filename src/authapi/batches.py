"""Does work of the same kind together: what comes while a batch is under way makes up the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")

# In seconds. Once a caller has waited this long, another batch is started beside those that are under way.
PATIENCE = 0.1
# In seconds. If a batch fails, callers who have already waited this long fail with it; the next batch would likely
# fail the same way (for example, the pool is exhausted).
LONGEST_WAIT = 1.0


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]
    since: float


class Batches(Generic[Item, Result]):
    """Collects what is asked for at the same time, for `work` that costs little more for many than for one.

    Nobody waits for others to come: a batch starts at once while none is under way, and has at most `size` items.
    Where batches are slow, one more is started every tenth of a second, until `most` are under way.
    """

    def __init__(self, *, size: int, most: int) -> None:
        self._size = size
        self._most = most
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def join(self, item: Item, work: Callable[[list[Item]], Awaitable[list[Result]]]) -> Result:
        """Have `work` done for this item; it returns the results in the order of the items.

        A batch runs in a task of its own: a caller who is cancelled does not cancel it for the others. What
        `work` raises is raised here for all items of the batch, and for callers who have waited `LONGEST_WAIT`.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting[Item, Result](item, loop.create_future(), loop.time())
        self._waiting.append(waiting)
        if not self._tasks:
            self._start(work)
        elif self._timer is None:
            self._timer = loop.call_later(PATIENCE, self._look_who_waits, work)
        return await waiting.answer

    def _start(self, work: Callable[[list[Item]], Awaitable[list[Result]]]) -> None:
        # An empty context: what is logged in there is about no single request.
        self._tasks.add(asyncio.create_task(self._work_off(work), context=Context()))

    def _look_who_waits(self, work: Callable[[list[Item]], Awaitable[list[Result]]]) -> None:
        self._timer = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        # The items that set the timer may be answered by now, and those that wait may have just come.
        patience = self._waiting[0].since + PATIENCE - loop.time()
        if patience <= 0:
            patience = PATIENCE
            if len(self._tasks) < self._most:
                self._start(work)
        self._timer = loop.call_later(patience, self._look_who_waits, work)

    async def _work_off(self, work: Callable[[list[Item]], Awaitable[list[Result]]]) -> None:
        try:
            while self._waiting:
                await self._do(self._take(), work)
        finally:
            # Not in a callback of the task, which runs later: an item that joins in between would see a batch under
            # way, start none, and never be answered.
            self._tasks.remove(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _do(
        self, batch: list[_Waiting[Item, Result]], work: Callable[[list[Item]], Awaitable[list[Result]]]
    ) -> None:
        try:
            results = await work([waiting.item for waiting in batch])
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(result)
        except Exception as error:
            for waiting in batch + self._take_overdue():
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
        finally:
            # Cancelled, when the loop ends.
            for waiting in batch:
                waiting.answer.cancel()

    def _take(self) -> list[_Waiting[Item, Result]]:
        return [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]

    def _take_overdue(self) -> list[_Waiting[Item, Result]]:
        due = asyncio.get_running_loop().time() - LONGEST_WAIT
        overdue = []
        while self._waiting and self._waiting[0].since <= due:
            overdue.append(self._waiting.popleft())
        return overdue
