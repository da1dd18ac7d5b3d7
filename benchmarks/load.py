"""A load generator on bare asyncio transports: several times faster than the services that it measures.

A generator that is itself out of breath measures itself. Every `Load` therefore says how much of a core the
generator used: well below one, it was waiting for the service.
"""

import asyncio
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from benchmarks.figures import percentile

Send = Callable[["Reply | None"], bytes]
"""Returns the next request of a connection, given the reply to its last one."""

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, body, and the seconds from when the request was due to the reply's last byte."""

    status: int
    body: bytes
    seconds: float


@dataclass
class Load:
    """What a generator saw: replies by status, latencies in seconds, its own use of the CPU (1.0: a core)."""

    seconds: float = 0.0
    generator_cpu: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Replies a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """A latency in seconds."""
        return percentile(self.latencies, percent / 100)

    @property
    def median(self) -> float:
        return statistics.median(self.latencies)

    def note(self, reply: Reply) -> None:
        self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
        self.latencies.append(reply.seconds)

    def require(self, *allowed: int) -> "Load":
        """Raise RuntimeError if any reply had another status: a fast refusal is no performance."""
        if not self.statuses or not set(self.statuses) <= set(allowed):
            raise RuntimeError(f"expected {allowed}, got {self.statuses}")
        return self


class Connection(asyncio.Protocol):
    """A keep-alive connection; `on_reply` is called in the loop, as soon as a reply is complete."""

    def __init__(self, on_reply: Callable[["Connection", Reply], None], on_lost: Callable[[], None]) -> None:
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._received = b""
        self._due = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, *, due: float | None = None) -> None:
        """Write a request; its latency counts from `due`, or from now."""
        assert self._transport is not None
        self._due = time.perf_counter() if due is None else due
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(_HEAD_END)
        if head < 0:
            return
        length = _CONTENT_LENGTH.search(self._received, 0, head)
        end = head + len(_HEAD_END) + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return
        reply = Reply(
            int(self._received[9:12]), self._received[head + 4 : end], time.perf_counter() - self._due
        )
        self._received = self._received[end:]
        self._on_reply(self, reply)

    def connection_lost(self, _error: Exception | None) -> None:
        self._on_lost()


def http_request(
    method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """The bytes of an HTTP/1.1 request; `body` is JSON unless `headers` say otherwise."""
    lines = {"Host": "127.0.0.1", "Accept": "*/*"} | (headers or {})
    if body is not None:
        lines = {"Content-Type": "application/json"} | lines | {"Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")


async def closed_loop(base_url: str, senders: Sequence[Send], *, seconds: float) -> Load:
    """One connection for each sender, which sends again as soon as it is answered."""
    deadline = time.perf_counter() + seconds
    answers = _Answers(expected=len(senders))

    def drive(send: Send) -> Callable[[Connection, Reply], None]:
        def on_reply(connection: Connection, reply: Reply) -> None:
            answers.load.note(reply)
            # Also of the last reply: it may hold what the next round begins with.
            request = send(reply)
            if time.perf_counter() < deadline:
                connection.send(request)
            else:
                answers.count()

        return on_reply

    connections = [await _connect(base_url, drive(send), answers.fail) for send in senders]
    started, cpu = time.perf_counter(), time.process_time()
    for connection, send in zip(connections, senders, strict=True):
        connection.send(send(None))
    return await answers.complete(connections, started=started, cpu=cpu)


async def paced(base_url: str, request: bytes, *, rate: float, seconds: float, connections: int = 64) -> Load:
    """`rate` requests a second by the clock, however slowly they are answered.

    A latency counts from when its request was due: one that had to wait for a free connection has waited.
    """
    total = int(rate * seconds)
    answers = _Answers(expected=total)
    free: asyncio.Queue[Connection] = asyncio.Queue()

    def on_reply(connection: Connection, reply: Reply) -> None:
        answers.load.note(reply)
        answers.count()
        free.put_nowait(connection)

    opened = [await _connect(base_url, on_reply, answers.fail) for _ in range(connections)]
    for connection in opened:
        free.put_nowait(connection)
    started, cpu = time.perf_counter(), time.process_time()
    for number in range(total):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        (await free.get()).send(request, due=due)
    return await answers.complete(opened, started=started, cpu=cpu)


class _Answers:
    """Collects what is answered until nothing more is expected; a lost connection fails the measurement."""

    def __init__(self, *, expected: int) -> None:
        self.load = Load()
        self._expected = expected
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def count(self) -> None:
        self._expected -= 1
        if self._expected == 0 and not self._done.done():
            self._done.set_result(None)

    def fail(self) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError("the service closed a connection"))

    async def complete(self, connections: Sequence[Connection], *, started: float, cpu: float) -> Load:
        await self._done
        self.load.seconds = time.perf_counter() - started
        self.load.generator_cpu = (time.process_time() - cpu) / self.load.seconds
        for connection in connections:
            connection.close()
        return self.load


async def _connect(
    base_url: str, on_reply: Callable[[Connection, Reply], None], on_lost: Callable[[], None]
) -> Connection:
    address = urlsplit(base_url)
    assert address.hostname
    assert address.port
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(on_reply, on_lost), address.hostname, address.port
    )
    return connection
