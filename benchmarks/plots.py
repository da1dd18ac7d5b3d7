"""Draws the figures of `benchmarks.run_all` for docs/performance.md: `python benchmarks/plots.py FILE FOLDER`.

Runs with matplotlib alone, in an environment of its own: nobody needs that to build or to test authapi.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
# The same figures give the same file.
matplotlib.rcParams["svg.hashsalt"] = "authapi"

from matplotlib import pyplot  # noqa: E402 - after the choice of what it draws on

SIZE = (7, 4)


def main() -> None:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    rows = {row["name"]: row for row in json.loads(source.read_text())["figures"]}
    draw_logins([row for name, row in rows.items() if name.startswith("login, ")], folder)
    if "flood" in rows:
        draw_flood(rows["flood"], folder)
    draw_growth({name: row for name, row in rows.items() if "few_ms" in row}, folder)


def draw_logins(points: list[dict[str, Any]], folder: Path) -> None:
    if not points:
        return
    figure, rates = pyplot.subplots(figsize=SIZE)
    clients = [point["clients"] for point in points]
    rates.plot(clients, [point["rate"] for point in points], marker="o", label="logins per second")
    rates.set(xscale="log", xlabel="clients", ylabel="logins per second", ylim=(0, None))
    rates.set_xticks(clients, [str(count) for count in clients])
    waits = rates.twinx()
    waits.plot(clients, [point["median_ms"] for point in points], marker="s", color="tab:orange")
    waits.set(ylabel="median milliseconds (orange)", ylim=(0, None))
    save(figure, folder / "logins.svg")


def draw_flood(row: dict[str, Any], folder: Path) -> None:
    figure, axes = pyplot.subplots(figsize=SIZE)
    labels = [f"p{percent:g}" for percent in row["percents"]]
    axes.plot(labels, row["idle_ms"], marker="o", label="idle")
    axes.plot(labels, row["flooded_ms"], marker="s", label="while eight clients hammer the login")
    axes.set(ylabel="milliseconds of GET /verify at 200 requests a second", ylim=(0, None))
    axes.legend()
    save(figure, folder / "flood.svg")


def draw_growth(rows: dict[str, dict[str, Any]], folder: Path) -> None:
    if not rows:
        return
    figure, axes = pyplot.subplots(figsize=(SIZE[0], 0.3 * len(rows) + 1))
    names = list(reversed(rows))
    # From 1 to both sides: by half as fast and twice as slow are as far away.
    axes.barh(
        [name.removeprefix("growth: ").replace("_", " ") for name in names],
        [rows[name]["ratio"] - 1 for name in names],
        left=1,
    )
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    ticks = (0.5, 1, 2, 5, 10, 20, 50)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="time with many users / time with a thousand")
    save(figure, folder / "growth.svg")


def save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
