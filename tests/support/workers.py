"""Real processes of authapi on one database: what several hosts and workers are to each other."""

import asyncio
import atexit
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

import authapi
from tests.support.processes import ServerError, _death_signal_wrapper, server_environment

# Four at once on a busy machine.
START_SECONDS = 180.0
PLENTY = "1000000/minute"
LIMITS = ("AUTH", "REFRESH", "SEARCH", "PUBLIC", "USER", "ADMIN")
SECRET_KEY = "for tests only, and long enough for them"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/docs")


def worker_environment(data_dir: Path, **variables: str) -> dict[str, str]:
    """The environment of a process: cheap hashes, plenty of requests, and `AUTHAPI_…` variables by name."""
    settings = {
        "AUTHAPI_DATA_DIR": str(data_dir),
        "AUTHAPI_PASSWORD__BCRYPT_ROUNDS": "4",
        "AUTHAPI_ACCESS_TOKEN__ISSUER": "http://127.0.0.1:5001",
        **{f"AUTHAPI_RATE_LIMIT__{name}": PLENTY for name in LIMITS},
        **{f"AUTHAPI_{name}": value for name, value in variables.items()},
    }
    # The processes run the code that the tests have imported.
    return server_environment() | {"PYTHONPATH": str(Path(authapi.__file__).parents[1])} | settings


class Worker:
    """One `authapi serve`, on a port of its own that it chooses at every start."""

    def __init__(self, name: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.port = 0
        self._directory = directory
        self._environment = dict(environment)
        self._output = directory / f"{name}.out"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start the process without waiting for it; from the main thread, at whose end it is killed."""
        command = [sys.executable, "-m", "authapi", "serve", "--port", "0"]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*_death_signal_wrapper(), *command],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        atexit.register(self.kill)

    async def wait_until_ready(self) -> None:
        """Return once it can serve; raises `ServerError` with the end of its output."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        async with httpx.AsyncClient() as client:
            while time.monotonic() < deadline and self._process.poll() is None:
                found = _ADDRESS.search(self._output.read_text(errors="replace"))
                if found:
                    self.port = int(found[1])
                    try:
                        if (await client.get(f"{self.url}/health/ready")).status_code == 200:
                            return
                    except httpx.TransportError:
                        pass
                await asyncio.sleep(0.05)
        self.kill()
        raise ServerError(f"{self.name} did not start: {self._output.read_text(errors='replace')[-3000:]}")

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        if self._process is not None:
            if self._process.poll() is None:
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            atexit.unregister(self.kill)


async def start_workers(workers: Sequence[Worker]) -> None:
    """Start all at once and wait for them."""
    for worker in workers:
        worker.launch()
    await asyncio.gather(*(worker.wait_until_ready() for worker in workers))


@asynccontextmanager
async def running_workers(
    directory: Path, environment: Mapping[str, str], *, number: int
) -> AsyncIterator[list[Worker]]:
    """Processes with the same environment; they end with the context."""
    workers = [Worker(f"worker{n}", directory, environment) for n in range(number)]
    try:
        await start_workers(workers)
        yield workers
    finally:
        for worker in workers:
            worker.kill()
