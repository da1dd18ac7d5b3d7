"""What the benchmarks share: their databases, their statistics, and figures as a table and as JSON."""

import argparse
import asyncio
import json
import os
import platform
import re
import subprocess
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import httpx

from authapi import __version__, clock
from tests.support.command import command_line
from tests.support.postgres import start_postgres
from tests.support.smtp_server import SmtpServer

PACKAGES = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "asyncpg", "aiosqlite", "bcrypt", "httpx")


@dataclass
class Figures:
    """The rows of a benchmark: what was measured, and whether it is as promised."""

    benchmark: str
    options: dict[str, Any]
    started_at: str = field(default_factory=lambda: clock.utc_now().isoformat(timespec="seconds"))
    load_at_start: float = field(default_factory=lambda: os.getloadavg()[0])
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, *, is_kept: bool | None = None, **values: Any) -> None:
        """Print a row and keep it; `is_kept` is None where nothing was promised."""
        verdict = {True: "ok  ", False: "FAIL", None: "    "}[is_kept]
        shown = "  ".join(f"{key}={_show(value)}" for key, value in values.items())
        print(f"{verdict} {name:<40} {shown}", flush=True)
        self.rows.append({"name": name, "is_kept": is_kept, **values})

    @property
    def are_kept(self) -> bool:
        return all(row["is_kept"] is not False for row in self.rows)

    def finish(self, file: Path | None) -> int:
        """Write the JSON if asked to; returns the exit code."""
        if file is not None:
            report = {
                "benchmark": self.benchmark,
                "started_at": self.started_at,
                "options": self.options,
                "machine": machine() | {"load_at_start": self.load_at_start},
                "figures": self.rows,
            }
            file.write_text(json.dumps(report, indent=2) + "\n")
        return 0 if self.are_kept else 1


def machine() -> dict[str, Any]:
    """What the figures were measured on, and with."""
    return {
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "authapi": __version__,
        "packages": {name: version(name) for name in PACKAGES},
    }


def area_under_curve(left: Sequence[float], right: Sequence[float]) -> float:
    """How often a value of `right` is above one of `left`, ties counting half (Mann-Whitney).

    0.5: who sees the time cannot do better than toss a coin; 1 or 0: he always knows.
    """
    ordered = sorted(left)
    wins = sum((bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in right)
    return wins / (len(left) * len(right))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies; `share` 0.5 is the median."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@contextmanager
def database_url(kind: str, directory: Path) -> Iterator[str]:
    """An empty database in `directory`; `kind` is postgresql or sqlite."""
    if kind == "sqlite":
        yield f"sqlite+aiosqlite:///{directory / 'authapi.sqlite3'}"
        return
    with start_postgres(directory) as server:
        server.create_database("benchmark")
        yield server.url("benchmark")


@contextmanager
def mail_server(server: SmtpServer) -> Iterator[Callable[[Literal["start", "stop"]], None]]:
    """Run an SMTP server on a loop and a thread of its own: the client that measures must not wait for it.

    Yields what stops it and starts it again.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def call(action: Literal["start", "stop"]) -> None:
        asyncio.run_coroutine_threadsafe(getattr(server, action)(), loop).result()

    call("start")
    try:
        yield call
    finally:
        call("stop")
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def run_authapi(directory: Path, environment: Mapping[str, str], *arguments: str) -> None:
    """Run a command of authapi to its end."""
    run = subprocess.run(
        command_line(*arguments), check=False, cwd=directory, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


async def read_counter(client: httpx.AsyncClient, url: str, name: str) -> float:
    """A counter of a served process, summed over its labels."""
    response = await client.get(f"{url}/metrics")
    assert response.status_code == 200, response.text
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", response.text, re.MULTILINE)))


def arguments_of(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parse, with `--json FILE` besides the parser's own; returns the options for the report too."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    return arguments, {key: value for key, value in vars(arguments).items() if key != "json"}


def _show(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
