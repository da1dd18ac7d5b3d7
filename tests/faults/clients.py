"""F24, F38: clients that hold connections for nothing, or leave in the middle of a request."""

import asyncio
import socket
from contextlib import suppress

from tests.faults.database import metric, pool_in_use
from tests.faults.http import Client, request
from tests.faults.probe import probing
from tests.faults.scenarios import MANY_LOGINS, QUIET, NotTried, World, scenario
from tests.faults.served import Authapi
from tests.faults.traffic import until

CLOSED_SECONDS = 15.0
CANCELLED = 10_000
PACE_SECONDS = 0.0125
BODY = (
    b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\n"
    b"Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"
)
HEAD = b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Slow: "
# Its answer is larger than what a socket's buffers hold.
LARGE = b"GET /docs/assets/redoc.standalone.js HTTP/1.1\r\nHost: a\r\n\r\n"
# By what is slow: the beginning of a request, and whether more of it follows.
KINDS = {"head": (HEAD, True), "body": (BODY, True), "answer": (LARGE, False)}


class SlowClient:
    """Sends a beginning and then a byte now and then, or reads nothing of its answer."""

    def __init__(self, port: int, beginning: bytes, *, sends: bool) -> None:
        self._port = port
        self._beginning = beginning
        self._sends = sends

    async def run(self, over: asyncio.Event) -> None:
        """Hold a connection for as long as the server lets it."""
        connection = socket.socket()
        # Little room, so that an answer has to wait for its reader.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        with connection, suppress(OSError):
            await loop.sock_connect(connection, ("127.0.0.1", self._port))
            await loop.sock_sendall(connection, self._beginning)
            while not over.is_set():
                await asyncio.sleep(1)
                if self._sends:
                    connection.send(b"a")


@scenario("F24", "slow clients: heads, bodies and answers without end (slowloris)")
async def slow_clients(world: World) -> str:
    _allow_descriptors(2 * world.connections)
    async with world.authapi(await world.new_postgres_url(), variables=QUIET) as authapi:
        account = await authapi.client.account("ada@example.com")
        token = account["access_token"]
        async with probing(authapi.port, "/verify", token=token) as before:
            await asyncio.sleep(4)
        figures = []
        for kind, (beginning, sends) in KINDS.items():
            slow = [
                SlowClient(authapi.port, beginning, sends=sends)
                for _ in range(world.connections // len(KINDS))
            ]
            figures.append(await _hold(authapi, slow, kind, token=token, p99=before.p99))
            login = await authapi.client.log_in("ada@example.com")
            assert login.status == 200, f"a login afterwards: {login.status}"
    return f"/verify p99 {before.p99:.1f} ms; {'; '.join(figures)}"


async def _hold(authapi: Authapi, slow: list[SlowClient], kind: str, *, token: str, p99: float) -> str:
    """Let them hold their connections; returns until when, and what others felt of it."""
    descriptors = authapi.descriptors()
    over = asyncio.Event()
    tasks = [asyncio.create_task(one.run(over)) for one in slow]
    try:
        # Opening them all at once is a burst of its own.
        await asyncio.sleep(2)
        held = authapi.descriptors() - descriptors
        async with probing(authapi.port, "/verify", token=token) as during:
            await asyncio.sleep(4)
        # Seen from the server: what the kernel still keeps for a client that reads nothing costs it no descriptor.
        seconds = 6 + await until(lambda: _has_at_most(authapi, descriptors + 10), seconds=3 * CLOSED_SECONDS)
    finally:
        over.set()
        await asyncio.gather(*tasks)
    assert seconds <= CLOSED_SECONDS + 2, f"a slow {kind} was held for {seconds:.0f} s"
    assert during.failures == 0, f"failed probes: {during.failed}"
    assert during.p99 <= max(2 * p99, p99 + 10), f"slow {kind}: {p99:.1f} -> {during.p99:.1f} ms"
    return f"{held} with a slow {kind} closed within {seconds:.0f} s, p99 {during.p99:.1f} ms meanwhile"


async def _has_at_most(authapi: Authapi, descriptors: int) -> bool:
    return authapi.descriptors() <= descriptors


def _allow_descriptors(wanted: int) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard < wanted:
            raise NotTried(f"needs {wanted} open files, {hard} are allowed; use --connections")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@scenario("F38", f"{CANCELLED} clients leave in the middle of their request")
async def leaving_clients(world: World) -> str:
    async with world.authapi(await world.new_postgres_url(), variables=QUIET | MANY_LOGINS) as authapi:
        client = authapi.client
        accounts = [await client.account(f"leaves{number}@example.com") for number in range(10)]
        descriptors = authapi.descriptors()
        requests = []
        for number, account in enumerate(accounts):
            token = account["access_token"]
            body = {"email": f"leaves{number}@example.com", "password": "correct Horse 7 battery"}
            requests += [
                request("GET", "/api/profile", token=token),
                request("POST", "/api/auth/login", body),
                request("GET", "/api/auth/sessions", token=token),
            ]
        async with asyncio.TaskGroup() as group:
            for number in range(CANCELLED):
                # Of those who come faster than they can be served, the server works off the rest afterwards.
                await asyncio.sleep(PACE_SECONDS)
                group.create_task(_leave(client, requests[number % len(requests)], number))
        settled = await until(lambda: _is_settled(client), seconds=10)
        # Whose answer is it?
        for number, account in enumerate(accounts):
            profile = await client.get("/api/profile", token=account["access_token"])
            assert profile.data["email"] == f"leaves{number}@example.com", "somebody else's answer"
        left = authapi.descriptors() - descriptors
    assert settled <= 2, f"pool and requests under way came back after {settled:.1f} s"
    assert left <= 10, f"{left} descriptors were left open"
    return f"pool and requests under way back to nothing after {settled:.2f} s; everybody gets his own answer"


async def _leave(client: Client, raw: bytes, number: int) -> None:
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(raw)
        await asyncio.sleep(number % 20 / 1000)
        writer.transport.abort()


async def _is_settled(client: Client) -> bool:
    in_progress = await metric(client, "authapi_http_requests_in_progress")
    # The reading itself is one of each.
    return in_progress <= 1 and await pool_in_use(client) <= 1
