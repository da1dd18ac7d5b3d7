"""Limits in a real Redis: shared by the workers while it answers, kept by each while it does not."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import redis.asyncio
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from authapi.errors import AuthApiError
from authapi.rate_limit import LimitedRoute, RateLimits, limits
from authapi.rate_limit_redis import RedisStorage
from authapi.rate_limit_storage import REDIS_TIMEOUT, FallbackStorage
from authapi.setting_groups import RateLimitSettings
from tests.support import redis_server as redis_module
from tests.support.processes import scratch_directory
from tests.support.redis_server import RedisServer, start_redis

router = APIRouter(route_class=LimitedRoute)


@router.get("/limited")
@limits.auth
async def limited(request: Request) -> dict[str, bool]:
    return {"ok": True}


@router.get("/unlimited")
async def unlimited(request: Request) -> dict[str, bool]:
    return {"ok": True}


async def show_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AuthApiError)
    return JSONResponse({}, error.status_code, {**error.headers, "Retry-After": str(error.retry_after)})


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """A Redis that these tests break, apart from the session's."""
    with pytest.MonkeyPatch.context() as patch, scratch_directory() as directory:
        patch.delenv(redis_module.URL_VARIABLE, raising=False)
        with start_redis(directory) as server:
            yield server


@pytest.fixture(name="server")
def _server(own_redis: RedisServer) -> RedisServer:
    """That Redis, empty, running and answering."""
    own_redis.restart()
    return own_redis


@asynccontextmanager
async def worker(server: RedisServer, *, auth: str = "5/minute") -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of one more worker process's app."""
    app = FastAPI()
    app.state.rate_limits = RateLimits(RateLimitSettings(storage_url=server.url, auth=auth))
    app.include_router(router)
    app.add_exception_handler(AuthApiError, show_error)
    transport = httpx.ASGITransport(app=app, client=("203.0.113.7", 1234))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            yield client
    finally:
        await app.state.rate_limits.close()


@asynccontextmanager
async def raw_client(server: RedisServer) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.Redis.from_url(server.url) as client:
        yield client


def storage_of(client: httpx.AsyncClient) -> RateLimits:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    rate_limits: RateLimits = transport.app.state.rate_limits  # type: ignore[attr-defined]
    return rate_limits


async def statuses(client: httpx.AsyncClient, count: int) -> list[int]:
    return [(await client.get("/limited")).status_code for _ in range(count)]


async def burst(clients: list[httpx.AsyncClient], count: int) -> list[int]:
    answers = await asyncio.gather(*[clients[n % len(clients)].get("/limited") for n in range(count)])
    return sorted(answer.status_code for answer in answers)


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float) -> float:
    """Return how long it took until `condition` held, which it must within `seconds`."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < seconds
        await asyncio.sleep(0.1)
    return time.monotonic() - started


class TestShared:
    async def test_workers_share_the_limit(self, server: RedisServer) -> None:
        async with worker(server) as one, worker(server) as two:
            assert await statuses(one, 3) == [200] * 3
            assert await statuses(two, 4) == [200] * 2 + [429] * 2
            assert await statuses(one, 1) == [429]

    async def test_of_200_parallel_requests_to_four_workers_exactly_the_limit_passes(
        self, server: RedisServer
    ) -> None:
        async with worker(server) as a, worker(server) as b, worker(server) as c, worker(server) as d:
            assert await burst([a, b, c, d], 200) == [200] * 5 + [429] * 195

    async def test_headers(self, server: RedisServer) -> None:
        async with worker(server) as client:
            answers = [await client.get("/limited") for _ in range(6)]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == list("432100")
        assert 58 <= int(answers[5].headers["Retry-After"]) <= 60
        assert 58 <= int(answers[0].headers["X-RateLimit-Reset"]) - time.time() <= 62

    async def test_retry_after_is_enough_and_a_refusal_elsewhere_costs_nothing(
        self, server: RedisServer
    ) -> None:
        async with worker(server, auth="1/second") as one, worker(server, auth="1/second") as two:
            assert await statuses(one, 1) == [200]
            assert await statuses(two, 3) == [429] * 3
            await asyncio.sleep(1)
            assert await statuses(two, 1) == [200]

    async def test_a_restarted_worker_remembers(self, server: RedisServer) -> None:
        async with worker(server) as client:
            assert await statuses(client, 5) == [200] * 5
        async with worker(server) as client:
            assert await statuses(client, 1) == [429]

    async def test_connections_are_bounded(self, server: RedisServer) -> None:
        async with worker(server, auth="500/minute") as client, raw_client(server) as raw:
            assert await burst([client], 300) == [200] * 300
            assert len(await raw.client_list()) <= 17


class TestRedisStorage:
    async def test_a_burst_around_the_edge_of_a_window_stays_within_the_limit(
        self, server: RedisServer
    ) -> None:
        storage = RedisStorage(server.url)
        allowed: list[float] = []
        started = time.monotonic()
        while time.monotonic() - started < 2.5:
            before = time.monotonic()
            if (await storage.spend("edge", limit=10, window=1)).is_allowed:
                allowed.append(before)
            await asyncio.sleep(0.007)
        assert 20 <= len(allowed) <= 30
        assert all(later - earlier >= 0.95 for earlier, later in zip(allowed, allowed[10:], strict=False))
        await storage.close()

    @pytest.mark.parametrize("step", [-3600, -600, 600, 3600])
    async def test_a_wrong_clock_of_a_worker_changes_nothing(
        self, server: RedisServer, monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        storage = RedisStorage(server.url)
        for _ in range(5):
            assert (await storage.spend("k", limit=5, window=60)).is_allowed
        moved = time.time() + step
        monkeypatch.setattr(time, "time", lambda: moved)
        spending = await storage.spend("k", limit=5, window=60)
        assert not spending.is_allowed
        assert 58 < spending.reset_after <= 60
        await storage.close()

    async def test_a_clock_of_redis_that_stepped_back_neither_resets_nor_freezes(
        self, server: RedisServer
    ) -> None:
        storage = RedisStorage(server.url)
        an_hour_ahead = int(time.time() * 1000) + 3_600_000
        async with raw_client(server) as raw:
            await raw.lpush("authapi:limit:k", *[an_hour_ahead] * 4)
        assert (await storage.spend("k", limit=5, window=1)).is_allowed
        spending = await storage.spend("k", limit=5, window=1)
        assert not spending.is_allowed
        assert spending.reset_after <= 1
        await asyncio.sleep(1.05)
        assert (await storage.spend("k", limit=5, window=1)).remaining == 4
        await storage.close()

    async def test_what_is_spent_expires(self, server: RedisServer) -> None:
        storage = RedisStorage(server.url)
        for _ in range(20):
            await storage.spend("k", limit=5, window=1)
        async with raw_client(server) as raw:
            assert await raw.llen("authapi:limit:k") == 5
            assert 0 < await raw.pttl("authapi:limit:k") <= 1000
            await asyncio.sleep(1.1)
            assert await raw.keys() == []
        await storage.close()

    async def test_a_cancelled_request_leaves_its_answer_to_nobody(self, server: RedisServer) -> None:
        storage = RedisStorage(server.url)

        async def spend(number: int) -> None:
            spending = await storage.spend(f"k{number}", limit=1000 + number, window=60)
            assert spending.remaining == 999 + number

        for start in range(0, 2000, 50):
            tasks = [asyncio.create_task(spend(number)) for number in range(start, start + 50)]
            for turns, task in enumerate(tasks[::2]):
                for _ in range(turns % 4):
                    await asyncio.sleep(0)
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
        await storage.close()


class TestOutage:
    async def test_down_at_the_start_means_limited_alone_and_one_alarm(
        self, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.kill()
        with caplog.at_level(logging.INFO, logger="authapi"):
            async with worker(server) as client:
                assert await statuses(client, 20) == [200] * 5 + [429] * 15
                assert storage_of(client).is_storage_down
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "counts its rate limits alone" in caplog.text
        assert server.url.split(":")[2].split("@")[0] not in caplog.text

    async def test_it_recovers_within_five_seconds(
        self, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="authapi")
        async with worker(server, auth="1000/minute") as client:
            assert await statuses(client, 1) == [200]
            server.kill()
            assert await statuses(client, 1) == [200]
            assert storage_of(client).is_storage_down
            server.start()

            async def is_up() -> bool:
                assert await statuses(client, 1) == [200]
                return not storage_of(client).is_storage_down

            assert await until(is_up, seconds=5) < 5
        assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]

    async def test_killed_under_load_nothing_fails_and_the_overshoot_is_bounded(
        self, server: RedisServer
    ) -> None:
        async with worker(server) as one, worker(server) as two:
            load = asyncio.create_task(burst([one, two], 400))
            await asyncio.sleep(0.05)
            await asyncio.to_thread(server.kill)
            answers = await load + await burst([one, two], 100)
        assert set(answers) == {200, 429}
        assert answers.count(200) <= 2 * 5

    async def test_an_emptied_redis_gives_no_fresh_allowance_on_the_same_worker(
        self, server: RedisServer
    ) -> None:
        async with worker(server) as client:
            assert await statuses(client, 5) == [200] * 5
            server.restart()
            assert await statuses(client, 5) == [429] * 5

    async def test_an_outage_gives_no_fresh_allowance_on_the_same_worker(self, server: RedisServer) -> None:
        async with worker(server) as client:
            assert await statuses(client, 3) == [200] * 3
            server.kill()
            assert await statuses(client, 4) == [200] * 2 + [429] * 2

    async def test_refusals_of_one_worker_make_no_load_on_redis(self, server: RedisServer) -> None:
        async with worker(server) as client, raw_client(server) as raw:
            await statuses(client, 5)
            before = (await raw.info("stats"))["total_commands_processed"]
            assert await statuses(client, 50) == [429] * 50
            assert (await raw.info("stats"))["total_commands_processed"] - before < 5

    async def test_an_error_of_redis_counts_as_an_outage(self, server: RedisServer) -> None:
        async with worker(server) as client, raw_client(server) as raw:
            await raw.config_set("maxmemory", "1")
            try:
                assert await statuses(client, 7) == [200] * 5 + [429] * 2
                assert storage_of(client).is_storage_down
            finally:
                await raw.config_set("maxmemory", "0")

    async def test_a_refused_password_counts_as_an_outage(
        self, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage = FallbackStorage(RedisStorage(server.url.replace("://:", "://:wrong")))
        assert (await storage.spend("k", limit=5, window=60)).is_allowed
        assert storage.is_down
        assert "wrong" not in caplog.text.replace("WRONGPASS", "")
        await storage.close()


class TestFrozen:
    async def test_one_request_waits_briefly_the_rest_not_at_all(self, server: RedisServer) -> None:
        async with worker(server) as client:
            assert await statuses(client, 1) == [200]
            server.freeze()
            started = time.monotonic()
            assert await statuses(client, 1) == [200]
            assert REDIS_TIMEOUT * 0.9 < time.monotonic() - started < REDIS_TIMEOUT + 0.3
            started = time.monotonic()
            assert await statuses(client, 20) == [200] * 3 + [429] * 17
            assert time.monotonic() - started < 0.25

    async def test_200_parallel_requests_wait_together_and_stay_limited(self, server: RedisServer) -> None:
        async with worker(server) as client:
            server.freeze()
            started = time.monotonic()
            assert await burst([client], 200) == [200] * 5 + [429] * 195
            assert time.monotonic() - started < 1.5
            assert storage_of(client).is_storage_down

    async def test_the_loop_is_not_blocked(self, server: RedisServer) -> None:
        async with worker(server, auth="1000/minute") as client:
            await statuses(client, 1)
            server.freeze()
            lags: list[float] = []
            waits: list[float] = []

            async def watch() -> None:
                while True:
                    started = time.monotonic()
                    await asyncio.sleep(0.01)
                    lags.append(time.monotonic() - started - 0.01)
                    started = time.monotonic()
                    await client.get("/unlimited")
                    waits.append(time.monotonic() - started)

            watcher = asyncio.create_task(watch())
            started = time.monotonic()
            while time.monotonic() - started < 2.5:
                assert await statuses(client, 1) == [200]
                await asyncio.sleep(0.02)
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
        assert len(lags) > 50
        assert max(lags) < 0.1
        assert max(waits) < 0.1

    async def test_it_recovers_when_thawed(self, server: RedisServer) -> None:
        async with worker(server, auth="1000/minute") as client:
            server.freeze()
            assert await statuses(client, 1) == [200]
            server.thaw()

            async def is_up() -> bool:
                assert await statuses(client, 1) == [200]
                return not storage_of(client).is_storage_down

            assert await until(is_up, seconds=5) < 5
