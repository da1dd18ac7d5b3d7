"""A connection pool that serves first come, first served.

SQLAlchemy's pool gives a returned connection to the next request that asks, even if others wait already: under
load a request may wait until its timeout of a second and be refused, while hundreds that came later were served.
"""

import asyncio
from typing import Any

from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util import await_only
from sqlalchemy.util.queue import AsyncAdaptedQueue, Empty


class _FairQueue(AsyncAdaptedQueue[ConnectionPoolEntry]):
    """Only the holder of the lock `_line` waits for the queue; all others wait, in order, for that lock."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._line = asyncio.Lock()

    def get(self, block: bool = True, timeout: float | None = None) -> ConnectionPoolEntry:
        if not block or not self._line.locked():
            try:
                return self.get_nowait()
            except Empty:
                if not block:
                    raise
        try:
            return await_only(self._wait(timeout))
        except TimeoutError:
            raise Empty from None

    async def _wait(self, timeout: float | None) -> ConnectionPoolEntry:  # noqa: ASYNC109 - of the pool
        async with asyncio.timeout(timeout), self._line:
            return await self._queue.get()


class FairQueuePool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool for asyncio, with waiters served in order."""

    _queue_class = _FairQueue
