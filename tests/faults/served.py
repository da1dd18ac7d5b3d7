"""`authapi serve` as a group of processes that can be killed, frozen, measured and started again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.faults.http import Client
from tests.support.processes import _death_signal_wrapper, free_port, has_ended, running_children
from tests.support.workers import SECRET_KEY, worker_environment

START_SECONDS = 60.0
STARTED = "Application startup complete"


class Authapi:
    """An authapi on a port that it keeps over restarts; `variables` are settings without their prefix.

    Each of its processes runs the code `at_start` before anything else.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *,
        workers: int = 1,
        variables: Mapping[str, str] | None = None,
        output: Path | None = None,
        at_start: str = "",
    ) -> None:
        self.port = free_port()
        self.workers = workers
        self.output = output or directory / "output"
        self._directory = directory
        settings = {
            "DATABASE__URL": database_url,
            "SECRET_KEY": SECRET_KEY,
            "PASSWORD__HASH_QUEUE": "1000",
            "LOG__LEVEL": "info",
            "MAIL__URL": f"file://{directory}/mail",
            **(variables or {}),
        }
        (directory / "mail").mkdir(exist_ok=True)
        self._environment = worker_environment(directory, **settings)
        if at_start:
            (directory / "sitecustomize.py").write_text(at_start)
            self._environment["PYTHONPATH"] += f"{os.pathsep}{directory}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> Client:
        """A client of it; any number of tasks may share one."""
        return Client(self.port)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it is not running"
        return self._process.pid

    @property
    def worker_pids(self) -> list[int]:
        """The processes that serve: children beside multiprocessing's own helper, or the only process."""
        if self.workers == 1:
            return [self.pid]
        return [pid for pid in running_children(self.pid) if "spawn_main" in _command_line(pid)]

    def run(self, *arguments: str, stdin: str = "") -> None:
        """Run a command of authapi with the same settings."""
        command = [sys.executable, "-m", "authapi", *arguments]
        subprocess.run(
            command,
            cwd=self._directory,
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
        )

    def launch(self) -> None:
        """Start without waiting."""
        command = [sys.executable, "-m", "authapi", "serve", "--port", str(self.port)]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*_death_signal_wrapper(), *command, "--workers", str(self.workers)],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own, which a kill reaches as a whole.
                start_new_session=True,
            )

    async def start(self) -> float:
        """Start and return the seconds until it was ready."""
        started = time.monotonic()
        self.launch()
        await self.until_ready()
        return time.monotonic() - started

    async def until_ready(self) -> None:
        """Wait until it answers that it is ready."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"it ended: {self.tail()}"
            answer = await self.client.try_get("/health/ready")
            if answer is not None and answer.status == 200:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"not ready in {START_SECONDS:.0f} s: {self.tail()}")

    def kill(self) -> None:
        """End the whole group as a power cut would."""
        if self._process is not None:
            children = running_children(self.pid)
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._process = None
            while not all(has_ended(child) for child in children):
                time.sleep(0.005)

    async def terminate(self) -> tuple[int, float]:
        """Ask it to end; returns the exit code and the seconds it took."""
        assert self._process is not None
        started = time.monotonic()
        self._process.terminate()
        code = await asyncio.to_thread(self._process.wait, 60)
        self._process = None
        return code, time.monotonic() - started

    def starts(self) -> int:
        """How many workers have come up so far."""
        return self.output.read_text(errors="replace").count(STARTED)

    def tail(self) -> str:
        """The end of what it said."""
        return self.output.read_text(errors="replace")[-3000:]

    def complaints(self) -> str:
        """The last errors that it logged."""
        lines = self.output.read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if '"level": "error"' in line][-5:])

    def resident_mib(self) -> float:
        """The memory of the processes that serve."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.worker_pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def descriptors(self) -> int:
        """The open files of the processes that serve."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.worker_pids)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
