"""Latencies as a bystander sees them, measured by a process of its own: `python -m tests.faults.probe`.

The load of a scenario would delay the clock of whoever makes it.
"""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

INTERVAL_SECONDS = 0.02
REFRESH = "/api/auth/refresh"


@dataclass
class Latencies:
    """Seconds of the answers with 200, and what came instead of it otherwise."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def failures(self) -> int:
        return len(self.failed)

    def quantile(self, share: float) -> float:
        """The p99 is `quantile(0.99)`, in milliseconds."""
        ordered = sorted(self.seconds)
        assert ordered, "nothing was measured"
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    @property
    def p99(self) -> float:
        return self.quantile(0.99)


@asynccontextmanager
async def probing(
    port: int, path: str, *, token: str | None = None, interval: float = INTERVAL_SECONDS
) -> AsyncIterator[Latencies]:
    """Ask for `path` again and again meanwhile; what is yielded is filled in at the end.

    For `REFRESH`, `token` is the first of a chain of refresh tokens, each of which comes on a new connection.
    """
    latencies = Latencies()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.probe",
        str(port),
        path,
        str(interval),
        token or "",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield latencies
    finally:
        output, _ = await process.communicate(b"\n")
    result = json.loads(output)
    latencies.seconds, latencies.failed = result["seconds"], result["failed"]


def main() -> None:
    port, path, interval, token = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
    # It measures the server, not the wait for a processor of its own.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    stopped = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.readline()
        stopped.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    seconds: list[float] = []
    failed: list[str] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    print("started", flush=True)  # noqa: T201 - the parent waits for it
    while not stopped.wait(interval):
        started = time.perf_counter()
        try:
            _ask(connection, path, token)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            failed.append(type(error).__name__)
            continue
        if response.status == 200:
            seconds.append(time.perf_counter() - started)
            if path == REFRESH:
                token = json.loads(answer)["data"]["refresh_token"]
                connection.close()
        else:
            failed.append(str(response.status))
    print(json.dumps({"seconds": seconds, "failed": failed}))  # noqa: T201


def _ask(connection: http.client.HTTPConnection, path: str, token: str) -> None:
    if path == REFRESH:
        body = json.dumps({"refresh_token": token})
        connection.request("POST", path, body, {"Content-Type": "application/json"})
    else:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})


if __name__ == "__main__":
    main()
