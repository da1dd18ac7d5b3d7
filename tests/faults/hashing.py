"""F30, F31: a flood of logins at the cost of production."""

import asyncio
import time
from collections import Counter
from random import Random  # noqa: TID251 - not a secret: the same run twice

from tests.faults.http import PASSWORD, Answer, Client, NoAnswer, request
from tests.faults.probe import REFRESH, Latencies, probing
from tests.faults.scenarios import World, scenario

FLOOD = 500
FLOOD_SECONDS = 10.0
# The default: 32 that wait for each worker.
PRODUCTION = {"PASSWORD__BCRYPT_ROUNDS": "12", "PASSWORD__HASH_QUEUE": "32", "LOG__LEVEL": "warning"}
# From which on a password is refused unhashed.
HUGE = "a" * 60_000


class Flood:
    """Logins by `FLOOD` clients at once: known and unknown users, each as fast as it is answered."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.answers: list[Answer] = []
        self.cut = 0

    async def run(self, seconds: float) -> None:
        """Go on for a while and let all finish."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._one(number, until) for number in range(FLOOD)))

    async def _one(self, number: int, until: float) -> None:
        # As people come, and come back: not all in the same millisecond.
        chance = Random(number)
        await asyncio.sleep(chance.random())
        body = {"email": f"flood{number}@example.com", "password": PASSWORD}
        raw = request("POST", "/api/auth/login", body)
        while time.monotonic() < until:
            try:
                answer = await self._client.send(raw)
            except NoAnswer:
                self.cut += 1
                continue
            self.answers.append(answer)
            if "retry-after" in answer.headers:
                # An honest client waits; a rude one is the job of the limits by address, which are off here.
                await asyncio.sleep(float(answer.headers["retry-after"]) * (1 + chance.random()))


async def _latencies(port: int, token: str, seconds: float) -> tuple[Latencies, Latencies]:
    async with probing(port, "/health/live") as live, probing(port, "/verify", token=token) as verify:
        await asyncio.sleep(seconds)
    return live, verify


@scenario("F30", f"{FLOOD} clients log in at once, at 12 rounds of bcrypt")
async def flood(world: World) -> str:
    async with world.authapi(await world.new_postgres_url(), variables=PRODUCTION) as authapi:
        client = authapi.client
        accounts = [await client.account(f"flood{number}@example.com") for number in range(5)]
        token = accounts[0]["access_token"]
        honest = (await client.log_in("flood0@example.com")).seconds
        # The first burst makes the connections and buffers that later ones reuse.
        burst = request("POST", "/api/auth/login", {"email": "nobody@example.com", "password": PASSWORD})
        async with probing(authapi.port, "/health/live") as first:
            await asyncio.gather(*(client.send(burst) for _ in range(FLOOD)))
        memory = authapi.resident_mib()
        flooding = Flood(client)
        (live, verify), _ = await asyncio.gather(
            _latencies(authapi.port, token, FLOOD_SECONDS), flooding.run(FLOOD_SECONDS)
        )
        grown = authapi.resident_mib() - memory
        huge = await client.log_in("flood0@example.com", HUGE)
    counted = Counter(answer.status for answer in flooding.answers)
    refused = sorted(answer.seconds for answer in flooding.answers if answer.status == 503)
    assert flooding.cut == 0, f"{flooding.cut} connections were cut"
    assert set(counted) <= {200, 401, 429, 503}, str(counted)
    assert refused, f"nobody was refused: {counted}"
    assert all("retry-after" in answer.headers for answer in flooding.answers if answer.status in {429, 503})
    # Told at once; in the first second the newcomers' connections themselves have to wait for each other.
    median, p99 = refused[len(refused) // 2] * 1000, refused[int(0.99 * len(refused))] * 1000
    waits = sorted(answer.seconds for answer in flooding.answers if answer.status in {200, 401})
    assert live.failures + verify.failures == 0, f"probes: {live.failed}, {verify.failed}"
    assert live.p99 < 100, f"/health/live p99 {live.p99:.0f} ms"
    assert verify.p99 < 100, f"/verify p99 {verify.p99:.0f} ms"
    assert grown < 20, f"memory grew by {grown:.0f} MiB"
    assert huge.status in {401, 422}, f"60 KB of password: {huge.status}"
    assert huge.seconds < 0.1, f"60 KB of password: {huge.seconds:.2f} s"
    assert median <= 200, f"refused after {median:.0f} ms (median; p99 {p99:.0f} ms)"
    assert waits[-1] < 10, f"an answer took {waits[-1]:.1f} s"
    return (
        f"/health/live at most {first.quantile(1):.0f} ms in a burst of {FLOOD} within a millisecond; then in a "
        f"flood p99 {live.p99:.0f} ms, /verify p99 {verify.p99:.0f} ms; {len(refused)} x 503 in "
        f"{median:.0f} ms (median; p99 {p99:.0f} ms) with Retry-After, {len(waits)} answered in at most "
        f"{waits[-1]:.1f} s (alone {honest:.2f} s); memory {grown:+.0f} MiB; 60 KB of password refused in "
        f"{huge.seconds * 1000:.0f} ms"
    )


@scenario("F31", "refreshes during the flood of logins")
async def refresh_during_flood(world: World) -> str:
    async with world.authapi(await world.new_postgres_url(), variables=PRODUCTION) as authapi:
        client = authapi.client
        account = await client.account("flood0@example.com")
        flooding = Flood(client)
        again = await client.log_in("flood0@example.com")
        # By a process of its own: the flood's clients delay each other.
        async with probing(authapi.port, REFRESH, token=account["refresh_token"]) as quiet:
            await asyncio.sleep(FLOOD_SECONDS)
        async with probing(authapi.port, REFRESH, token=again.data["refresh_token"]) as busy:
            await flooding.run(FLOOD_SECONDS)
    failed = quiet.failed + busy.failed
    assert not failed, f"{len(failed)} refreshes failed: {failed[0]}"
    figures = f"p99 {quiet.p99:.0f} ms alone, {busy.p99:.0f} ms during {len(flooding.answers)} logins"
    # Twice as long, or a tenth of a second on a machine whose load generator takes a core of its own.
    assert busy.p99 <= max(2 * quiet.p99, quiet.p99 + 100), figures
    return figures
