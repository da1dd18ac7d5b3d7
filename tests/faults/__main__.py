"""`python -m tests.faults [F5 F6 ...]`: run fault scenarios and say what came of each."""

import argparse
import asyncio
import importlib
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.faults.proved import PROVED, run_proved
from tests.faults.scenarios import SCENARIOS, NotTried, World
from tests.faults.table import Row, Status, line, markdown
from tests.support.processes import ServerError, scratch_directory

MODULES = (
    "database",
    "failover",
    "processes",
    "clients",
    "limits",
    "migration",
    "hashing",
    "storage",
    "strings",
    "timing",
    "refreshes",
    "kills",
    "soak",
)
# They last long, and do the same thing many times.
REPEATS_ITSELF = {"F39", "K200"}
DOCUMENT = Path("docs/faults.md")
BEGIN, END = "<!-- results: written by make faults -->", "<!-- end of the results -->"


def main() -> int:
    """Run what was asked for; 0 if nothing failed."""
    options = _parse_arguments()
    for module in MODULES:
        importlib.import_module(f"tests.faults.{module}")
    known = sorted({*SCENARIOS, *PROVED}, key=_order)
    unknown = sorted(set(options.numbers) - set(known))
    if unknown:
        _say(f"there is no {', '.join(unknown)}; there are {' '.join(known)}")
        return 2
    wanted = [number for number in known if not options.numbers or number in options.numbers]
    started = time.monotonic()
    with scratch_directory() as directory:
        rows = asyncio.run(_run(wanted, directory, options))
    minutes = (time.monotonic() - started) / 60
    counts = {status: sum(row.status is status for row in rows) for status in Status}
    _say(", ".join(f"{count} {status}" for status, count in counts.items()) + f" in {minutes:.1f} min")
    # A part of the rows would replace the table of all.
    if options.write and not options.numbers:
        _write(rows, minutes=minutes)
    return 1 if counts[Status.FAILED] else 0


async def _run(wanted: Sequence[str], directory: Path, options: argparse.Namespace) -> list[Row]:
    world = World(
        directory=directory,
        kills=options.kills,
        soak_minutes=options.soak,
        connections=options.connections,
    )
    rows = []
    try:
        for number in wanted:
            _say(f"{number} ...", end="\r")
            row = await _run_repeatedly(
                number, world, times=1 if number in REPEATS_ITSELF else options.repeat
            )
            _say(line(row))
            rows.append(row)
    finally:
        await world.close()
    return rows


async def _run_repeatedly(number: str, world: World, *, times: int) -> Row:
    """Run a fault so many times, or until it fails; the figures are those of the last run."""
    started, passed = time.monotonic(), 0
    while True:
        row = await _run_one(number, world)
        passed += row.status is Status.PASSED
        if row.status is not Status.PASSED or passed == times:
            return replace(row, passed=passed, seconds=time.monotonic() - started)


async def _run_one(number: str, world: World) -> Row:
    parts: list[tuple[str, Status, str]] = []
    if number in SCENARIOS:
        fault, function = SCENARIOS[number]
        try:
            parts.append((fault, Status.PASSED, await function(world)))
        except NotTried as reason:
            parts.append((fault, Status.SKIPPED, str(reason)))
        except (AssertionError, ServerError) as failure:
            parts.append((fault, Status.FAILED, str(failure) or traceback.format_exc(limit=-1)))
        except Exception:
            traceback.print_exc()
            parts.append((fault, Status.FAILED, traceback.format_exc(limit=-1)))
    if number in PROVED:
        parts.append(await run_proved(number))
    worst = [
        status for status in (Status.FAILED, Status.PASSED, Status.SKIPPED) if status in _statuses(parts)
    ]
    figures = "; ".join(figure for _, _, figure in parts)[:600]
    return Row(number, parts[0][0], worst[0], re.sub(r"\s+", " ", figures))


def _statuses(parts: Sequence[tuple[str, Status, str]]) -> set[Status]:
    return {status for _, status, _ in parts}


def _order(number: str) -> tuple[str, int]:
    return number.rstrip("0123456789"), int(re.sub(r"\D", "", number))


def _write(rows: Sequence[Row], *, minutes: float) -> None:
    text = DOCUMENT.read_text()
    where = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    results = f"{BEGIN}\nMeasured on {where}, in {minutes:.0f} minutes.\n\n{markdown(rows)}{END}"
    before, _, rest = text.partition(BEGIN)
    DOCUMENT.write_text(before + results + rest.partition(END)[2])


def _say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("numbers", nargs="*", metavar="F5", help="only these; otherwise all")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="how many times each fault (1)")
    parser.add_argument("--soak", type=float, default=20, metavar="MINUTES", help="length of F39 (20)")
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="kills of K200 (200)")
    parser.add_argument("--connections", type=int, default=2000, metavar="N", help="slow ones of F24 (2000)")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
