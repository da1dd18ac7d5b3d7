"""Every required row of ASVS 5.0 has evidence, and every piece of evidence exists.

`pytest -k asvs_9_2_3` runs the check of one row.
"""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.asvs.evidence import Deviation, Partly, Row
from tests.asvs.requirements import REQUIRED, REQUIREMENTS

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[2]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BY_ID = {row.id: row for row in REQUIREMENTS}


@cache
def names_of_tests(path: Path) -> frozenset[str]:
    """The tests of a file as `Class::test_name` or `test_name`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{item.name}" for item in node.body if isinstance(item, FUNCTIONS)}
        elif isinstance(node, FUNCTIONS):
            names.add(node.name)
    return frozenset(name for name in names if name.rpartition("::")[2].startswith("test_"))


@cache
def headings(path: Path) -> frozenset[str]:
    """The anchors of a Markdown file's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return frozenset(re.sub(r"[^\w -]", "", text.lower()).strip().replace(" ", "-") for text in found)


def problem(reference: str) -> str | None:
    """What is wrong with a reference, or None."""
    file, _, test = reference.partition("::")
    name, _, heading = file.partition("#")
    path = ROOT / name
    if not path.is_file():
        return f"{reference}: there is no such file"
    if test and test not in names_of_tests(path):
        return f"{reference}: the file has no such test"
    if heading and heading not in headings(path):
        return f"{reference}: the file has no such heading"
    if not test and name.startswith("tests/"):
        return f"{reference}: name the test"
    return None


@pytest.mark.parametrize("number", REQUIRED, ids=lambda number: "asvs_" + number.replace(".", "_"))
def test_requirement(number: str) -> None:
    assert number in BY_ID, f"{number} is required and has no row"
    row = BY_ID[number]
    problems = [found for reference in row.references if (found := problem(reference))]
    assert not problems, "\n".join(problems)
    assert row.level in {1, 2}
    assert 3 <= len(row.summary.split()) <= 12, row.summary
    if isinstance(row.evidence, Partly | Deviation):
        assert len(row.evidence.reason.split()) >= 4, "say what is missing, and why"
    if not isinstance(row.evidence, Deviation):
        assert row.references, "a row without evidence is a deviation"


def test_each_row_is_there_once() -> None:
    twice = [number for number, count in Counter(row.id for row in REQUIREMENTS).items() if count > 1]
    assert not twice
    assert set(BY_ID) == set(REQUIRED)


def test_most_is_met_in_full() -> None:
    """The numbers that README and SECURITY.md may claim; run with -s to see them."""
    summary = describe(REQUIREMENTS)
    print(summary)  # noqa: T201 - what the test is asked for
    in_full = sum(isinstance(row.evidence, tuple) for row in REQUIREMENTS)
    deviations = {row.id for row in REQUIREMENTS if isinstance(row.evidence, Deviation)}
    assert in_full >= 0.8 * len(REQUIREMENTS), summary
    assert deviations == {"6.2.5", "7.4.4", "11.2.1", "12.3.3"}, summary


def describe(rows: tuple[Row, ...]) -> str:
    """How many rows are met in full, in part and not, by level."""
    lines = []
    for level in (1, 2):
        kinds = Counter(type(row.evidence).__name__ for row in rows if row.level == level)
        lines.append(
            f"level {level}: {kinds['tuple']} in full, {kinds['Partly']} partly, {kinds['Deviation']} deviations"
        )
    return "\n".join(lines)
