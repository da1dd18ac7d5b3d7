"""What is measured: each function runs limit and service side by side and returns figures with their ratios.

Machines differ and drift; a ratio of two figures of the same minute does not. Limit and service take turns in
short rounds, so that neither has the better half of the run.
"""

import asyncio
import json
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import bcrypt

from benchmarks.load import Load, Reply, Send, closed_loop, http_request, paced
from benchmarks.servers import LOGIN_USERS, POOL_SIZE, Server, log_in, login_request

Rates = dict[str, Any]

LOGIN_CLIENTS = 8

CLIENTS = 32
VERIFY_RATE = 200


async def login(server: Server, *, rounds: int, seconds: float, cores: int) -> Rates:
    """Logins a second of eight clients over sixteen users, against bcrypt checks a second of every core."""
    limits, services = [], []
    for _ in range(rounds):
        limits.append(await asyncio.to_thread(_bcrypt_rate, seconds, cores))
        load = await closed_loop(server.base_url, login_senders(LOGIN_CLIENTS), seconds=seconds)
        services.append(load.require(200).rate)
    limits.append(await asyncio.to_thread(_bcrypt_rate, seconds, cores))
    return _ratio(services, limits)


async def login_by_concurrency(server: Server, *, seconds: float) -> list[Rates]:
    """Logins a second and their median wait, by the number of clients."""
    points = []
    # More than two cores work off in the five seconds that one may wait are refused.
    for clients in (1, 2, 4, 8, 16):
        load = await closed_loop(server.base_url, login_senders(clients), seconds=seconds)
        points.append({"clients": clients, "rate": load.require(200).rate, "median_ms": load.median * 1000})
    return points


async def hot_path(server: Server, bare: Server, *, rounds: int, seconds: float) -> dict[str, Rates]:
    """`GET /api/auth/me` and `GET /verify` against the bare route, requests a second of 32 clients."""
    tokens = await log_in(server, 0)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    targets = {
        "bare": (bare, http_request("GET", "/me", headers=headers)),
        "me": (server, http_request("GET", "/api/auth/me", headers=headers)),
        "verify": (server, http_request("GET", "/verify", headers=headers)),
    }
    rates: dict[str, list[float]] = {name: [] for name in targets}
    generator = 0.0
    for _ in range(rounds):
        for name, (target, request) in targets.items():
            load = await closed_loop(target.base_url, [_always(request)] * CLIENTS, seconds=seconds)
            rates[name].append(load.require(200).rate)
            generator = max(generator, load.generator_cpu)
    return {
        name: _ratio(rates[name], rates["bare"]) | {"generator_cpu": round(generator, 2)}
        for name in ("me", "verify")
    }


async def refresh(server: Server, database_dsn: str, *, rounds: int, seconds: float) -> Rates:
    """Refreshes a second of 32 clients, against `UPDATE … RETURNING` and COMMIT by asyncpg with the same pool."""
    pairs = [await log_in(server, number % LOGIN_USERS) for number in range(CLIENTS)]
    tokens = [pair["refresh_token"] for pair in pairs]
    services, limits = [], []
    pool = await asyncpg.create_pool(database_dsn, min_size=POOL_SIZE, max_size=POOL_SIZE)
    await pool.execute("DROP TABLE IF EXISTS counters")
    await pool.execute("CREATE TABLE counters (id int PRIMARY KEY, generation int NOT NULL)")
    await pool.execute("INSERT INTO counters SELECT n, 0 FROM generate_series(1, $1) n", CLIENTS)
    for _ in range(rounds):
        limits.append(await _update_rate(pool, seconds))
        senders = [_refreshing(tokens, position) for position in range(CLIENTS)]
        load = await closed_loop(server.base_url, senders, seconds=seconds)
        services.append(load.require(200).rate)
    limits.append(await _update_rate(pool, seconds))
    await pool.close()
    return _ratio(services, limits)


async def flood(server: Server, *, rounds: int, seconds: float) -> Rates:
    """p99 of `GET /verify` at 200 requests a second, idle and while eight clients hammer the login."""
    tokens = await log_in(server, 0)
    request = http_request("GET", "/verify", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    idle, flooded = Load(), Load()
    for _ in range(rounds):
        quiet = await paced(server.base_url, request, rate=VERIFY_RATE, seconds=seconds)
        idle.latencies += quiet.require(200).latencies
        hammering = asyncio.create_task(
            closed_loop(server.base_url, login_senders(LOGIN_CLIENTS), seconds=seconds + 1)
        )
        await asyncio.sleep(0.5)
        loud = await paced(server.base_url, request, rate=VERIFY_RATE, seconds=seconds)
        flooded.latencies += loud.require(200).latencies
        (await hammering).require(200)
    percents = (50, 90, 95, 99, 99.9)
    return {
        "idle_p99_ms": idle.percentile(99) * 1000,
        "flooded_p99_ms": flooded.percentile(99) * 1000,
        "ratio": flooded.percentile(99) / idle.percentile(99),
        "percents": percents,
        "idle_ms": [idle.percentile(percent) * 1000 for percent in percents],
        "flooded_ms": [flooded.percentile(percent) * 1000 for percent in percents],
    }


def login_senders(clients: int) -> list[Send]:
    """One sender for each client, which go through the users in turn."""
    turn = iter(range(1_000_000_000))

    def send(_: Reply | None) -> bytes:
        return login_request(next(turn) % LOGIN_USERS)

    return [send] * clients


def _always(request: bytes) -> Send:
    return lambda _: request


def _refreshing(tokens: list[str], position: int) -> Send:
    def send(reply: Reply | None) -> bytes:
        # A refused one is tried again, and fails the measurement at its end.
        if reply is not None and reply.status == 200:
            tokens[position] = json.loads(reply.body)["data"]["refresh_token"]
        body = json.dumps({"refresh_token": tokens[position]}).encode()
        return http_request("POST", "/api/auth/refresh", body=body)

    return send


async def _update_rate(pool: "asyncpg.Pool[asyncpg.Record]", seconds: float) -> float:
    started = time.perf_counter()
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        while time.perf_counter() - started < seconds:
            async with pool.acquire() as connection, connection.transaction():
                await connection.fetchrow(
                    "UPDATE counters SET generation = generation + 1 WHERE id = $1 RETURNING *", number
                )
            done += 1

    await asyncio.gather(*(client(number) for number in range(1, CLIENTS + 1)))
    return done / (time.perf_counter() - started)


def _bcrypt_rate(seconds: float, cores: int) -> float:
    """Checks a second, on a thread for each core; bcrypt releases the lock of the interpreter."""
    password = b"correct horse battery staple"
    hashed = bcrypt.hashpw(password, bcrypt.gensalt(12))
    counts = [0] * cores
    started = time.perf_counter()

    def work(core: int) -> None:
        while time.perf_counter() - started < seconds:
            bcrypt.checkpw(password, hashed)
            counts[core] += 1

    _in_threads(work, cores)
    return sum(counts) / (time.perf_counter() - started)


def _in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _ratio(services: list[float], limits: list[float]) -> Rates:
    """Medians, per second, and their ratio."""
    service, limit = statistics.median(services), statistics.median(limits)
    return {"service": service, "limit": limit, "ratio": service / limit}
