"""The command line inside of the test process: fast, and on a database of its own."""

import asyncio
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from typer.testing import CliRunner, Result

from authapi import migrations
from authapi.cli import app
from tests.support.command import forget_settings


class Command(Protocol):
    def __call__(self, *arguments: str, stdin: str | None = None, **variables: str) -> Result: ...


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty working directory of the command, and an environment without settings."""
    forget_settings(monkeypatch)
    monkeypatch.setenv("AUTHAPI_PASSWORD__BCRYPT_ROUNDS", "4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(directory: Path) -> Iterator[Command]:
    """Runs `authapi` with arguments: `command("users", "list", AUTHAPI_LOG__LEVEL="error")`."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)

    def run(*arguments: str, stdin: str | None = None, **variables: str) -> Result:
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=variables)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    yield run
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "authapi.sqlite3"
    asyncio.run(migrations.upgrade(f"sqlite+aiosqlite:///{file}"))
    return file


@pytest.fixture
def migrated(directory: Path, migrated_file: Path) -> Path:
    """The working directory with a data directory whose database has the current schema."""
    data = directory / ".authapi"
    data.mkdir(mode=0o700)
    shutil.copy(migrated_file, data / "authapi.sqlite3")
    return directory
