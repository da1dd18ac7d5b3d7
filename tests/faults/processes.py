"""F1, F2, F3, F4: workers and the whole service are killed, frozen and stopped."""

import asyncio
import os
import signal
import time

from tests.faults.http import Answer, Client, NoAnswer
from tests.faults.scenarios import MANY_LOGINS, World, scenario
from tests.faults.served import Authapi
from tests.faults.traffic import Call, Load, database_calls, load, statuses, until

# A worker needs a second or two to import everything; a busy machine adds to that.
GRACE_SECONDS = 8


async def _mixed(client: Client) -> list[Call]:
    """The calls of some users, and reads of the token alone."""
    account = await client.account(f"reader{time.monotonic_ns()}@example.com")

    async def verify() -> Answer:
        return await client.get("/verify", token=account["access_token"])

    return [*await database_calls(client), verify, verify, verify, verify]


@scenario("F1", "one of two workers is killed under load (kill -9)")
async def kill_worker(world: World) -> str:
    async with world.authapi(await world.new_postgres_url(), workers=2) as authapi:
        calls = await _mixed(authapi.client)
        killed, under_way, seconds = 3, 0, []
        # Clients that leave the machine room to start a worker.
        async with load(calls, pause=0.1) as running:
            for _ in range(killed):
                await asyncio.sleep(0.5)
                under_way += running.under_way
                seconds.append((await _replaced(authapi, signal.SIGKILL))[1])
    failures = [sent for sent in running.sent if sent.status != 200]
    assert all(sent.status == 0 for sent in failures), str(statuses(failures))
    assert len(failures) <= under_way, f"{len(failures)} failures, {under_way} under way"
    assert max(seconds) <= 2, f"replaced after {max(seconds):.1f} s"
    return (
        f"{killed} kills: replaced and serving after at most {max(seconds):.1f} s, "
        f"{len(failures)} of {len(running.sent)} requests failed, of {under_way} under way"
    )


async def _replaced(authapi: Authapi, with_signal: signal.Signals) -> tuple[float, float]:
    """Send a signal to a worker; the seconds until it is gone, and until another one serves in its place."""
    victim, starts = authapi.worker_pids[0], authapi.starts()
    os.kill(victim, with_signal)

    async def is_gone() -> bool:
        return victim not in authapi.worker_pids

    async def is_replaced() -> bool:
        return authapi.starts() > starts

    gone = await until(is_gone, seconds=30)
    return gone, gone + await until(is_replaced, seconds=60)


@scenario("F2", "one of two workers hangs (SIGSTOP)")
async def freeze_worker(world: World) -> str:
    async with world.authapi(await world.new_postgres_url(), workers=2, variables=MANY_LOGINS) as authapi:
        return await _hang(authapi, signal.SIGSTOP)


@scenario("F2b", "the event loop of one of two workers hangs, and nothing else of it")
async def hang_loop(world: World) -> str:
    url = await world.new_postgres_url()
    async with world.authapi(url, workers=2, variables=MANY_LOGINS, at_start=_HANG_ON_SIGUSR2) as authapi:
        figures = await _hang(authapi, signal.SIGUSR2)
        assert authapi.output.read_text().count("event_loop.hangs") == 1, "the log does not say it once"
        return figures


# A signal's handler runs in the main thread, as the event loop does; the supervisor's pings are answered elsewhere.
_HANG_ON_SIGUSR2 = "import signal, time; signal.signal(signal.SIGUSR2, lambda *_: time.sleep(60))"


async def _hang(authapi: Authapi, with_signal: signal.Signals) -> str:
    calls = await _mixed(authapi.client)
    async with load(calls, pause=0.02) as running:
        await asyncio.sleep(1)
        hung, under_way = time.monotonic(), running.under_way
        gone, seconds = await _replaced(authapi, with_signal)
        await asyncio.sleep(1)
    failures = [sent for sent in running.sent if sent.status != 200]
    # It may have hung with a row locked: whoever needs that one waits for the lock in vain until it is killed.
    late = [sent for sent in failures if sent.began > hung and sent.status == 503 and sent.retry_after]
    assert all(sent.began < hung + gone for sent in late), "a 503 after it was killed"
    cut = [sent for sent in failures if sent not in late]
    assert all(sent.began <= hung for sent in cut), f"sent after it hung: {cut[-1].status} {cut[-1].note}"
    assert len(cut) <= under_way, f"{len(cut)} failures, {under_way} under way"
    slowest = max(sent.seconds for sent in running.between(hung + gone))
    assert slowest <= 10, f"a request took {slowest:.1f} s after it was killed"
    assert gone <= 10, f"found out after {gone:.1f} s"
    return (
        f"killed after {gone:.1f} s, replaced and serving after {seconds:.1f} s; meanwhile the other served "
        f"{_fine(running, hung)} requests and refused {len(late)} whose rows were locked; {len(cut)} of "
        f"{under_way} under way failed"
    )


def _fine(running: Load, since: float) -> int:
    return sum(sent.status == 200 for sent in running.between(since))


@scenario("F3", "the whole service is killed (kill -9) and started again")
async def kill_service(world: World) -> str:
    figures = []
    for kind, url in (("SQLite", world.new_sqlite_url()), ("PostgreSQL", await world.new_postgres_url())):
        async with world.authapi(url) as authapi:
            client = authapi.client
            kept, revoked = await client.account("kept@example.com"), await client.account("out@example.com")
            seconds: list[float] = []
            for _ in range(3):
                newest = await client.account(f"new{time.monotonic_ns()}@example.com")
                if not seconds:
                    assert (await client.log_out(revoked["access_token"])).status == 200
                authapi.kill()
                seconds.append(await authapi.start())
                assert (await client.refresh(newest["refresh_token"])).status == 200
                assert (await client.get("/verify", token=kept["access_token"])).status == 200
                assert (await client.get("/verify", token=revoked["access_token"])).status == 401
                assert (await client.refresh(revoked["refresh_token"])).status == 401
        assert max(seconds) <= 3, f"{kind}: ready after {max(seconds):.1f} s"
        figures.append(f"{kind}: ready after at most {max(seconds):.1f} s")
    return "; ".join(figures) + "; what was acknowledged and what was revoked stayed so"


@scenario("F4", "SIGTERM under load")
async def terminate(world: World) -> str:
    figures = []
    for workers in (1, 2):
        rounds = {"PASSWORD__BCRYPT_ROUNDS": "12"}
        async with world.authapi(
            await world.new_postgres_url(), workers=workers, variables=rounds
        ) as authapi:
            client = authapi.client
            emails = [f"user{number}@example.com" for number in range(10)]
            for email in emails:
                await client.account(email)
            under_way = [asyncio.create_task(client.log_in(email)) for email in emails]
            # Accepted, and each in the middle of its work.
            await asyncio.sleep(0.2)
            ending = asyncio.create_task(authapi.terminate())
            await asyncio.sleep(0.1)
            newcomer = await _is_refused_at_once(client)
            finished = await asyncio.gather(*under_way, return_exceptions=True)
            code, seconds = await ending
        done = [answer for answer in finished if isinstance(answer, Answer) and answer.status == 200]
        assert len(done) == len(finished), f"{workers} workers: {finished}"
        assert code == 0, f"{workers} workers: exit code {code}"
        assert seconds <= GRACE_SECONDS + 1, f"{workers} workers: {seconds:.1f} s"
        assert newcomer, f"{workers} workers: a new connection was kept waiting"
        figures.append(
            f"{workers} worker{'s' * (workers > 1)}: {len(done)} of 10 finished, exit 0 after {seconds:.1f} s"
        )
    return "; ".join(figures) + "; newcomers refused at once"


async def _is_refused_at_once(client: Client) -> bool:
    started = time.monotonic()
    try:
        await client.get("/health/live")
    except NoAnswer:
        pass
    return time.monotonic() - started < 1


@scenario("F3b", "the supervisor of two workers is killed (kill -9), and nothing else")
async def kill_supervisor(world: World) -> str:
    async with world.authapi(await world.new_postgres_url(), workers=2) as authapi:
        workers = authapi.worker_pids
        os.kill(authapi.pid, signal.SIGKILL)

        async def are_gone() -> bool:
            return await authapi.client.try_get("/health/live") is None

        try:
            seconds = await until(are_gone, seconds=10)
        finally:
            for pid in workers:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        restarted = await authapi.start()
    return (
        f"its workers gave the port back after {seconds:.1f} s; ready {restarted:.1f} s after the next start"
    )
