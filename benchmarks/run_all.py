"""Everything that docs/performance.md shows, in one run: `make bench`, or `python -m benchmarks.run_all`.

    --quick      short rounds: to see that it runs, not for figures to keep
    --only NAME  login, hot_path, refresh, flood, footprint, growth; may be repeated
    --json FILE  where the figures go; build/benchmarks.json unless given

Services run under their production settings: every middleware, limits raised (not removed), logs and metrics
on. Prints a table of ratios and whether each reaches its target; exits 1 if one does not.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvloop

from authapi import clock
from benchmarks import measures
from benchmarks.servers import LOGIN_USERS, add_users, authapi_server, bare_server
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.processes import scratch_directory

PARTS = ("login", "hot_path", "refresh", "flood", "footprint", "growth")
PACKAGES = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "asyncpg", "pydantic", "bcrypt", "python-jose")
STARTS = 5


@dataclass(frozen=True)
class Target:
    """A figure and what it must reach: at least, or at most."""

    work: str
    against: str
    value: float
    bound: float
    at_least: bool

    @property
    def is_met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound


async def measure(
    directory: Path, postgres: PostgresServer, *, parts: Sequence[str], quick: bool
) -> dict[str, Any]:
    """The figures of the parts, by name."""
    figures: dict[str, Any] = {}
    rounds, seconds = (2, 2.0) if quick else (4, 10.0)
    postgres.create_database("authapi")
    url, dsn = postgres.url("authapi"), postgres.dsn("authapi")
    await asyncio.to_thread(add_users, directory, url, count=LOGIN_USERS)
    with bare_server(directory, url) as bare, authapi_server(directory, url) as server:
        if "hot_path" in parts:
            figures |= await measures.hot_path(server, bare, rounds=rounds, seconds=seconds / 2)
        if "flood" in parts:
            figures["flood"] = await measures.flood(server, rounds=rounds, seconds=seconds)
        if "refresh" in parts:
            figures["refresh"] = await measures.refresh(server, dsn, rounds=rounds, seconds=seconds / 2)
        if "login" in parts:
            cores = os.cpu_count() or 1
            figures["login"] = await measures.login(server, rounds=rounds, seconds=seconds, cores=cores)
            figures["login_by_concurrency"] = await measures.login_by_concurrency(server, seconds=seconds)
        memory = {"service": server.resident_bytes, "limit": bare.resident_bytes}
    if "footprint" in parts:
        figures["memory"] = memory | {"ratio": memory["service"] / memory["limit"]}
        figures["cold_start"] = await asyncio.to_thread(cold_starts, directory, url)
    if "growth" in parts:
        from benchmarks import growth

        figures["growth"] = await growth.measure(100_000 if quick else 1_000_000)
    return figures


def cold_starts(directory: Path, url: str) -> dict[str, float]:
    """Seconds from the start of a process to its first answer."""
    services, limits = [], []
    for _ in range(STARTS):
        with bare_server(directory, url) as bare:
            limits.append(bare.seconds_to_first_answer)
        with authapi_server(directory, url) as server:
            services.append(server.seconds_to_first_answer)
    service, limit = statistics.median(services), statistics.median(limits)
    return {"service": service, "limit": limit, "ratio": service / limit}


def targets(figures: dict[str, Any]) -> list[Target]:
    """What was measured, next to what it must reach."""
    found = []

    def target(key: str, work: str, against: str, bound: float, *, at_least: bool = False) -> None:
        if key in figures:
            found.append(Target(work, against, figures[key]["ratio"], bound, at_least))

    target("login", "login, 8 clients", "bcrypt checks of all cores", 0.95, at_least=True)
    target("me", "GET /api/auth/me, 32 clients", "a bare FastAPI route", 0.70, at_least=True)
    target("verify", "GET /verify, 32 clients", "a bare FastAPI route", 1.40, at_least=True)
    target("refresh", "refresh, 32 clients", "UPDATE … RETURNING and COMMIT", 0.25, at_least=True)
    target("flood", "p99 of /verify in a login flood", "its idle p99", 3.0)
    if "flood" in figures:
        found.append(Target("", "milliseconds", figures["flood"]["flooded_p99_ms"], 15.0, False))
    target("memory", "memory after load", "a bare application", 2.0)
    target("cold_start", "cold start to the first answer", "a bare application", 2.0)
    return found


def machine() -> dict[str, Any]:
    """Where and with what the figures were taken."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        "",
    )
    return {
        "taken_at": clock.utc_now().isoformat(timespec="seconds"),
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _print_table(rows: Sequence[Target]) -> None:
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        verdict = "met" if row.is_met else "MISSED"
        print(f"{row.work:34} {row.against:32} {row.value:8.2f} {sign} {row.bound:<5} {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=PARTS, default=None)
    parser.add_argument("--json", type=Path, default=Path("build/benchmarks.json"))
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        scratch_directory() as scratch,
        start_postgres(scratch, durable=True) as server,
    ):
        work = measure(Path(directory), server, parts=arguments.only or PARTS, quick=arguments.quick)
        figures = uvloop.run(work)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"machine": machine(), "figures": figures}, indent=2) + "\n")
    rows = targets(figures)
    _print_table(rows)
    sys.exit(0 if all(row.is_met for row in rows) else 1)


if __name__ == "__main__":
    main()
