"""F32: what the time of an answer tells a stranger, by the benchmark of it."""

import asyncio
import json
import sys
from pathlib import Path

from tests.faults.scenarios import World, scenario

ROOT = Path(__file__).parents[2]
PAIRS = 1000
# Login, a forgotten password, registration, a service client.
CASES = "acej"


@scenario("F32", f"the time of {PAIRS} + {PAIRS} answers, in turn, tells who has an account")
async def timing(world: World) -> str:
    file = world.new_directory() / "timing.json"
    options = ("--pairs", str(PAIRS), "--only", CASES, "--json", str(file))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.timing_equality",
        *options,
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )
    # 1: something was told, and is in the figures.
    assert await process.wait() in {0, 1}, "the benchmark came to nothing"
    figures = json.loads(file.read_text())["figures"]
    assert len(figures) == len(CASES)
    told = [row["name"] for row in figures if not row["is_kept"]]
    areas = ", ".join(
        f"{row['name']}: {row['auc']:.3f}, {row['median_difference_ms']:+.2f} ms" for row in figures
    )
    assert not told, f"it does for {', '.join(told)} ({areas})"
    return f"area under the curve and difference of the medians: {areas}; bodies and headers equal"
