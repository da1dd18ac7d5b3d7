"""The package's sources as syntax trees, for rules that a text search would get wrong."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "authapi"


@cache
def trees() -> dict[str, ast.Module]:
    """Each source of the package by its path below `src/authapi`."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))
    }


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Each call: where it is, what is called as it is spelt (`re.compile`), and the call."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield f"{path}:{node.lineno}", ast.unparse(node.func), node


def imports() -> Iterator[tuple[str, str]]:
    """Each imported module or name, in full, and the source that imports it."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


def importers(module: str) -> set[str]:
    """The sources that import a module or something of it."""
    return {path for path, name in imports() if name == module or name.startswith(f"{module}.")}
