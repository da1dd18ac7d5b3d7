"""What comes at the same time is done together, and a batch is nobody's own."""

import asyncio
from typing import Any

import pytest

from authapi import request_context
from authapi.batches import Batches
from authapi.request_context import RequestContext


class Work:
    """Doubles numbers, once it is let; keeps the batches that it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()

    async def __call__(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        await self.go.wait()
        return [2 * number for number in numbers]


@pytest.fixture
async def work() -> Work:
    return Work()


def batches(*, size: int = 10, most: int = 1) -> Batches[int, int]:
    return Batches(size=size, most=most)


async def start(joining: Batches[int, int], numbers: list[int], work: Any) -> "list[asyncio.Task[int]]":
    tasks = [asyncio.create_task(joining.join(number, work)) for number in numbers]
    await asyncio.sleep(0.01)
    return tasks


async def test_one_alone_starts_at_once(work: Work) -> None:
    work.go.set()
    assert await batches().join(21, work) == 42
    assert work.batches == [[21]]


async def test_what_comes_meanwhile_is_the_next_batch(work: Work) -> None:
    joining = batches(size=3)
    first = await start(joining, [1], work)
    others = await start(joining, [2, 3, 4, 5], work)
    work.go.set()
    assert await asyncio.gather(*first, *others) == [2, 4, 6, 8, 10]
    assert work.batches == [[1], [2, 3, 4], [5]]


async def test_who_leaves_breaks_nothing_off(work: Work) -> None:
    joining = batches()
    left, stayed = await start(joining, [1, 2], work)
    left.cancel()
    work.go.set()
    assert await stayed == 4
    with pytest.raises(asyncio.CancelledError):
        await left
    assert await joining.join(3, work) == 6


async def test_where_batches_are_slow_more_of_them_are_under_way(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authapi.batches.PATIENCE", 0.05)
    joining = batches(most=2)
    tasks = [task for number in (1, 2, 3) for task in await start(joining, [number], work)]
    assert work.batches == [[1]]
    await asyncio.sleep(0.1)
    assert work.batches == [[1], [2, 3]]
    tasks += await start(joining, [4], work)
    await asyncio.sleep(0.1)
    assert work.batches == [[1], [2, 3]]
    work.go.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]


async def test_while_batches_are_fast_there_is_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long there is always somebody who waits."""
    monkeypatch.setattr("authapi.batches.PATIENCE", 0.05)
    under_way = most = 0

    async def work(numbers: list[int]) -> list[int]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return numbers

    joining = batches(most=5)

    async def call(pause: float) -> None:
        for _ in range(20):
            await joining.join(1, work)
            await asyncio.sleep(pause)

    await asyncio.gather(*(call(pause / 1000) for pause in range(8)))
    assert most == 1


async def test_those_for_whom_a_slow_batch_had_no_room_get_another(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authapi.batches.PATIENCE", 0.05)
    joining = batches(size=2, most=3)
    tasks = [*await start(joining, [1], work), *await start(joining, [2, 3, 4], work)]
    await asyncio.sleep(0.2)
    assert work.batches == [[1], [2, 3], [4]]
    work.go.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]


async def test_a_failure_is_everybodys_and_the_next_ones_go_on(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that wait, only who has waited for long is not kept for another try."""
    monkeypatch.setattr("authapi.batches.LONGEST_WAIT", 0.05)

    async def fail(numbers: list[int]) -> list[int]:
        await work(numbers)
        raise TimeoutError

    joining = batches()
    failing = await start(joining, [1, 2], fail) + await start(joining, [3], fail)
    await asyncio.sleep(0.1)
    (lately,) = await start(joining, [4], work)
    work.go.set()
    results = await asyncio.gather(*failing, return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError] * 3
    with pytest.raises(TimeoutError):
        await lately
    assert work.batches == [[1, 2], [4]]
    assert await joining.join(5, work) == 10


async def test_a_failure_is_not_that_of_others_while_another_batch_is_under_way(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authapi.batches.PATIENCE", 0)
    fails = asyncio.Event()

    async def fail_at_two(numbers: list[int]) -> list[int]:
        if 2 in numbers:
            await fails.wait()
            raise TimeoutError
        return [2 * number for number in numbers]

    joining = batches(most=2)
    (slow,) = await start(joining, [1], work)
    (failing,) = await start(joining, [2], fail_at_two)
    (waiting,) = await start(joining, [3], fail_at_two)
    fails.set()
    with pytest.raises(TimeoutError):
        await failing
    assert await waiting == 6
    work.go.set()
    assert await slow == 2


async def test_who_joins_as_the_last_batch_ends_waits_for_nobody() -> None:
    """Its reply and a new caller may come in the same turn of the loop."""
    loop = asyncio.get_running_loop()
    replies: list[asyncio.Future[None]] = []

    async def reply(numbers: list[int]) -> list[int]:
        replies.append(loop.create_future())
        await replies[-1]
        return numbers

    joining = batches()
    under_way = await start(joining, [1], reply)
    arrival = loop.create_future()

    async def arrive() -> int:
        await arrival
        return await joining.join(2, reply)

    newcomer = asyncio.create_task(arrive())
    await asyncio.sleep(0.01)
    for reached in (*replies, arrival):
        reached.set_result(None)
    assert await asyncio.gather(*under_way) == [1]
    await asyncio.sleep(0.01)
    assert len(replies) == 2
    replies[1].set_result(None)
    assert await asyncio.wait_for(newcomer, 1) == 2


async def test_work_that_is_broken_off_leaves_nobody_waiting(work: Work) -> None:
    joining = batches()
    (waiting,) = await start(joining, [1], work)
    (task,) = joining._tasks
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 1)
    work.go.set()
    assert await joining.join(2, work) == 4


async def test_no_request_is_the_one_that_it_is_done_for() -> None:
    seen = []

    async def look(numbers: list[int]) -> list[int]:
        seen.append(request_context.current())
        return numbers

    with request_context.bind(RequestContext(request_id="somebody's", ip="203.0.113.7")):
        await batches().join(1, look)
    assert seen == [RequestContext()]
