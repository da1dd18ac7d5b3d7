"""Turns what goes wrong inside of a command into one clear line and an exit code."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from authapi import redaction
from authapi.commands import output
from authapi.errors import AuthApiError
from authapi.settings import InvalidSettings


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_STARTED = 3


class CommandFailed(Exception):
    """A command cannot do its work; each of `lines` names a cause and what to do."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class CommandGroup(TyperGroup):
    """The root of the command line: no command ends with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        with reporting_failures(ExitCode.FAILED):
            return super().invoke(ctx)


@contextmanager
def reporting_failures(exit_code: ExitCode) -> Iterator[None]:
    """Report every exception of the block on stderr and exit with `exit_code`."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
        raise
    except Exception as error:
        for line in describe_failure(error):
            output.error(line)
        raise typer.Exit(exit_code) from None


def describe_failure(error: Exception) -> tuple[str, ...]:
    """What to tell a person about an exception; secrets in it are replaced."""
    match error:
        case CommandFailed(lines=lines):
            return lines
        case InvalidSettings(problems=problems):
            return tuple(problems)
        case AuthApiError(fields=fields) if fields:
            return tuple(field.message for field in fields)
        case AuthApiError():
            return (error.message,)
        case OSError(filename=str() | os.PathLike() as filename, strerror=str(reason)):
            return (f"{os.fspath(filename)}: {reason}",)
    # Without the message, which may quote what was processed.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename}:{frame.lineno} in {frame.name}"
    return (f"unexpected {redaction.exception_name(error)} at {place}; please report it",)
