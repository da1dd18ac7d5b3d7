import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.util import greenlet_spawn
from sqlalchemy.util.queue import Empty

from authapi.database import Database
from authapi.fair_pool import FairQueuePool


@pytest.fixture
async def database(database_url: str) -> Database:
    return Database(database_url, pool_size=1)


async def test_who_asks_first_is_served_first() -> None:
    """A connection that comes back while somebody waits is not for who asks at that very moment."""
    queue: Any = FairQueuePool._queue_class(1)
    waiting = asyncio.create_task(greenlet_spawn(queue.get, True, 5))
    await asyncio.sleep(0.01)
    queue.put_nowait("the connection")
    with pytest.raises(Empty):
        await greenlet_spawn(queue.get, True, 0.05)
    assert await waiting == "the connection"


async def test_who_gives_up_leaves_the_line(database: Database) -> None:
    async def use() -> None:
        async with database.reading() as db:
            await db.execute(text("SELECT 1"))

    async with database.reading():
        waiting = [asyncio.create_task(use()) for _ in range(3)]
        await asyncio.sleep(0.05)
        # The one at the head of the line, and one behind it.
        waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.sleep(0.05)
    await asyncio.wait_for(waiting[2], timeout=5)
    assert waiting[0].cancelled()
    assert waiting[1].cancelled()
    await use()
    await database.close()


async def test_the_wait_has_an_end(database: Database) -> None:
    async with database.reading():
        with pytest.raises(PoolTimeout):
            async with asyncio.timeout(10), database.reading():
                pass
    await database.close()
