"""How commands speak: results on stdout, everything else on stderr, colours only on a terminal."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress


def result(text: str, *, style: str = "") -> None:
    """Print one line of a command's result."""
    _print(text, style, Console())


def note(text: str, *, style: str = "") -> None:
    """Print one line for the person at the terminal."""
    _print(text, style, Console(stderr=True))


def error(text: str) -> None:
    """Print one line that says what went wrong and what to do."""
    note(f"error: {text}", style="red")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns' names: aligned on a terminal, with tabs between otherwise."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            # Past rich, which turns tabs into spaces.
            typer.echo("\t".join(row))
        return
    aligned = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        aligned.add_column(column, overflow="fold", header_style="bold")
    for row in rows:
        aligned.add_row(*map(Text, row))
    Console().print(aligned)


def progress(*, beside_stdout: bool = False) -> "Progress":
    """A bar on stderr; none where that is no terminal or, beside lines on stdout, where those are seen."""
    from rich.progress import Progress

    is_hidden = not sys.stderr.isatty() or (beside_stdout and sys.stdout.isatty())
    return Progress(console=Console(stderr=True), transient=True, disable=is_hidden)


def _print(text: str, style: str, console: Console) -> None:
    # As text: square brackets in a name or a path are no markup, and a long line is not broken.
    console.print(Text(text, style=style), soft_wrap=True, highlight=False)
