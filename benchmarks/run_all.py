"""Everything that docs/performance.md shows, in one run: `make bench`, or `python -m benchmarks.run_all`.

Services run under their production settings: every middleware, limits raised (not removed), logs and metrics
on. Each figure is a ratio of two that were measured in turns in the same minutes; the table says which of them
are as promised, and the exit code is 1 if one is not.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from benchmarks import growth, measures
from benchmarks.figures import Figures, arguments_of
from benchmarks.servers import LOGIN_USERS, add_users, authapi_server, bare_server
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.processes import scratch_directory

PARTS = ("login", "hot_path", "refresh", "flood", "footprint", "growth")
STARTS = 9
MEBIBYTE = 1024 * 1024


async def measure(
    figures: Figures, directory: Path, postgres: PostgresServer, *, parts: Sequence[str], quick: bool
) -> None:
    """Measure the parts and add their rows."""
    rounds, seconds = (2, 2.0) if quick else (4, 10.0)
    postgres.create_database("authapi")
    url, dsn = postgres.url("authapi"), postgres.dsn("authapi")
    await asyncio.to_thread(add_users, directory, url, count=LOGIN_USERS)
    with bare_server(directory, url) as bare, authapi_server(directory, url) as server:
        if "hot_path" in parts:
            paths = await measures.hot_path(server, bare, rounds=rounds, seconds=seconds / 2)
            for name, bound in (("me", 0.70), ("verify", 1.40)):
                figures.add(name, is_kept=paths[name]["ratio"] >= bound, bound=bound, **paths[name])
        if "flood" in parts:
            flood = await measures.flood(server, rounds=rounds, seconds=seconds)
            figures.add("flood", is_kept=flood["ratio"] <= 3 and flood["flooded_p99_ms"] <= 15, **flood)
        if "refresh" in parts:
            refresh = await measures.refresh(server, dsn, rounds=rounds, seconds=seconds / 2)
            figures.add("refresh", is_kept=refresh["ratio"] >= 0.25, bound=0.25, **refresh)
        if "login" in parts:
            cores = os.cpu_count() or 1
            # Twice as long: a hash at the end of a round that has a core to itself takes a third of a second.
            login = await measures.login(server, rounds=rounds, seconds=2 * seconds, cores=cores)
            figures.add("login", is_kept=login["ratio"] >= 0.95, bound=0.95, **login)
            for point in await measures.login_by_concurrency(server, seconds=seconds):
                figures.add(f"login, {point['clients']} clients", **point)
        service, limit = server.resident_bytes, bare.resident_bytes
    if "footprint" in parts:
        memory = {"service_mb": service / MEBIBYTE, "limit_mb": limit / MEBIBYTE, "ratio": service / limit}
        figures.add("memory", is_kept=service <= 2 * limit, bound=2, **memory)
        await asyncio.to_thread(measure_cold_starts, figures, directory, url)
    if "growth" in parts:
        grown = await growth.measure(100_000 if quick else 1_000_000)
        growth.add_rows(figures, grown)


def measure_cold_starts(figures: Figures, directory: Path, url: str) -> None:
    """Seconds from the start of a process to its first answer."""
    services, limits = [], []
    for _ in range(STARTS):
        with bare_server(directory, url) as bare:
            limits.append(bare.seconds_to_first_answer)
        with authapi_server(directory, url) as server:
            services.append(server.seconds_to_first_answer)
    service, limit = statistics.median(services), statistics.median(limits)
    ratio = service / limit
    figures.add("cold start", is_kept=ratio <= 2, bound=2, service_s=service, limit_s=limit, ratio=ratio)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short rounds: to see that it runs")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    arguments, options = arguments_of(parser)
    figures = Figures("all", options)
    with (
        tempfile.TemporaryDirectory() as directory,
        scratch_directory() as scratch,
        start_postgres(scratch, durable=True) as server,
    ):
        parts = arguments.only or PARTS
        uvloop.run(measure(figures, Path(directory), server, parts=parts, quick=arguments.quick))
    sys.exit(figures.finish(arguments.json))


if __name__ == "__main__":
    main()
