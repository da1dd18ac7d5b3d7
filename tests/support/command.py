"""The `authapi` command as a process of its own, in an empty directory and a clean environment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

START_SECONDS = 60.0
STOP_SECONDS = 30.0


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment without any setting of whoever runs the tests; hashes are cheap."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AUTHAPI_")}
    inherited.pop("NO_COLOR", None)
    inherited.pop("FORCE_COLOR", None)
    return inherited | {"AUTHAPI_PASSWORD__BCRYPT_ROUNDS": "4"} | variables


def forget_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the settings of whoever runs the tests out of this process's environment."""
    for name in list(os.environ):
        if name.startswith("AUTHAPI_"):
            monkeypatch.delenv(name)


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "authapi", *arguments]


def run_command(
    directory: Path, *arguments: str, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; a text as `stdin` is no terminal."""
    return subprocess.run(
        command_line(*arguments),
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        cwd=directory,
        env=clean_environment(**variables),
        timeout=START_SECONDS,
    )


@dataclass
class Serving:
    """A running `authapi serve`."""

    process: subprocess.Popen[str]
    base_url: str
    directory: Path

    @property
    def stdout(self) -> str:
        return (self.directory / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.directory / "stderr").read_text()

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(with_signal)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def serving(directory: Path, *arguments: str, port: int, **variables: str) -> Iterator[Serving]:
    """Run `authapi serve` on a port and wait until it is ready."""
    with (directory / "stdout").open("w") as stdout, (directory / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            command_line("serve", "--port", str(port), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            cwd=directory,
            env=clean_environment(**variables),
        )
    running = Serving(process, f"http://127.0.0.1:{port}", directory)
    try:
        _wait_until_ready(running)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)


def _wait_until_ready(running: Serving) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert running.process.poll() is None, running.stderr
        assert time.monotonic() < deadline, running.stderr
        try:
            if httpx.get(f"{running.base_url}/health/ready", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
