"""Does work of the same kind together: what comes while a batch is under way makes up the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")

_Waiting = tuple[Item, asyncio.Future[Result]]


class Batches(Generic[Item, Result]):
    """Collects what is asked for at the same time, for `work` that costs little more for many than for one.

    Nobody waits for others to come: a batch starts at once while fewer than `concurrency` are under way, and has
    at most `size` items.
    """

    def __init__(self, *, size: int, concurrency: int) -> None:
        self._size = size
        self._concurrency = concurrency
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, item: Item, work: Callable[[list[Item]], Awaitable[list[Result]]]) -> Result:
        """Have `work` done for this item; it returns the results in the order of the items.

        Its task is nobody's: a caller who leaves does not break it off for the others. What it raises is raised
        here for all of its items, and for those that wait if no other batch is under way: a database that is away
        would keep them waiting once more.
        """
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if len(self._tasks) < self._concurrency:
            # An empty context: what is logged in there is about no single request.
            self._tasks.add(asyncio.create_task(self._work_off(work), context=Context()))
        return await answer

    async def _work_off(self, work: Callable[[list[Item]], Awaitable[list[Result]]]) -> None:
        try:
            while self._waiting:
                await self._do(self._take(self._size), work)
        finally:
            # Not in a callback of the task: who joins before that is called would wait for nobody.
            self._tasks.remove(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _do(
        self, batch: list[_Waiting[Item, Result]], work: Callable[[list[Item]], Awaitable[list[Result]]]
    ) -> None:
        try:
            results = await work([item for item, _ in batch])
            for (_, answer), result in zip(batch, results, strict=True):
                if not answer.done():
                    answer.set_result(result)
        except Exception as error:
            if len(self._tasks) == 1:
                batch = batch + self._take(len(self._waiting))
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
        finally:
            # Cancelled, when the loop ends.
            for _, answer in batch:
                answer.cancel()

    def _take(self, count: int) -> list[_Waiting[Item, Result]]:
        return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
