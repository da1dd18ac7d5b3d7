import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from authapi.database import Database


@pytest.fixture
async def database(database_url: str) -> Database:
    return Database(database_url, pool_size=1)


async def test_who_asks_first_is_served_first(database: Database) -> None:
    """Nobody who comes while a connection changes hands gets it before those who wait."""
    served: list[str] = []

    async def use(name: str, *, again: int = 0) -> None:
        async with database.reading() as db:
            served.append(name)
            await db.execute(text("SELECT 1"))
        # At once, before the one that was woken runs: the pool has a free connection at this moment.
        if again:
            await use(f"{name}'", again=again - 1)

    await asyncio.gather(use("a", again=3), use("b"), use("c"), use("d"))
    await database.close()
    assert served[:4] == ["a", "b", "c", "d"]
    assert served[4:] == ["a'", "a''", "a'''"]


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
