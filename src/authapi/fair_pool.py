"""A connection pool that serves in the order of asking.

SQLAlchemy's hands a connection that comes back to whoever asks next, past those who wait: under load a request
may wait until its second is over, and be refused, while hundreds that came later were served.
"""

import asyncio
from typing import Any

from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util import await_only
from sqlalchemy.util.queue import AsyncAdaptedQueue, Empty


class _FairQueue(AsyncAdaptedQueue[ConnectionPoolEntry]):
    """One waits for the queue itself, the others in line for that place."""

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
    """SQLAlchemy's pool for asyncio with a queue that nobody jumps."""

    _queue_class = _FairQueue
