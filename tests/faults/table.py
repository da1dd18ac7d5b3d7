"""The result of a run as a table, on the terminal and in docs/faults.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: its number, what breaks, what came of it, how many times it passed, the figures or the reason."""

    number: str
    fault: str
    status: Status
    figure: str
    passed: int = 1
    seconds: float = 0.0

    @property
    def result(self) -> str:
        """The status, with the number of runs that passed if there were several."""
        if self.status is Status.PASSED:
            return f"passed {self.passed} times" if self.passed > 1 else "passed"
        return f"{self.status} after {self.passed} that passed" if self.passed else self.status


def line(row: Row) -> str:
    """A row for the terminal."""
    return f"{row.number:<5} {row.result:<14} {row.seconds:6.1f} s  {row.fault}: {row.figure}"


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    cells = [
        f"| {row.number} | {row.fault} | {row.result} | {row.figure.replace('|', '/')} |" for row in rows
    ]
    return "\n".join(["| | fault | result | figures |", "|---|---|---|---|", *cells]) + "\n"
