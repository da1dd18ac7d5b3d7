"""`authapi doctor`: says what is unsafe or broken before users notice."""

import asyncio
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from authapi.commands import output
from authapi.commands.environment import prepare_settings, read_schema_state
from authapi.commands.failures import CommandFailed, ExitCode, describe_failure
from authapi.settings import InvalidSettings, Settings

REDIS_SECONDS = 2.0


class Severity(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


STYLES = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.PROBLEM: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and how it is."""

    severity: Severity
    text: str


def doctor(
    workers: Annotated[int, typer.Option(min=1, max=256, help="As for serve.")] = 1,
) -> None:
    """Name every unsafe or broken setting; exit 1 if production would refuse to start."""
    findings = list(examine(workers=workers))
    for finding in findings:
        output.result(f"{finding.severity:<8} {finding.text}", style=STYLES[finding.severity])
    if any(finding.severity is Severity.PROBLEM for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


def examine(*, workers: int) -> Iterator[Finding]:
    """Look at the code's backends, the settings, the files, the database and Redis; changes nothing."""
    yield _cryptography()
    try:
        settings = prepare_settings()
    except InvalidSettings as invalid:
        yield from (Finding(Severity.PROBLEM, problem) for problem in invalid.problems)
        return
    yield Finding(Severity.OK, f"the settings can be read; the environment is {settings.environment.value}")
    yield from _settings(settings, workers=workers)
    yield from _files(settings)
    missing = _missing_file(settings)
    # Connecting would create it.
    yield from [missing] if missing else asyncio.run(_database(settings))
    yield from asyncio.run(_redis(settings))


def _cryptography() -> Finding:
    from authapi.security.signing_keys import UnsafeCryptoBackend, assert_cryptography_backend

    try:
        assert_cryptography_backend()
    except UnsafeCryptoBackend as error:
        return Finding(Severity.PROBLEM, f"{error}; reinstall python-jose[cryptography]")
    return Finding(Severity.OK, "tokens are signed by pyca/cryptography")


def _settings(settings: Settings, *, workers: int) -> Iterator[Finding]:
    from authapi.production_checks import production_problems

    problems = production_problems(settings, workers=workers)
    prefix = "" if settings.is_production else "production would refuse: "
    yield from (Finding(Severity.PROBLEM, prefix + problem) for problem in problems)
    if not problems:
        yield Finding(Severity.OK, "production accepts these settings")
    if settings.is_production and settings.docs_enabled:
        yield Finding(Severity.WARNING, "AUTHAPI_DOCS__ENABLED: shows the API documentation to everybody")


def _files(settings: Settings) -> Iterator[Finding]:
    from authapi.secret_keys import SECRET_KEY_FILE

    directory = settings.data_dir
    if not directory.exists():
        yield Finding(Severity.OK, f"AUTHAPI_DATA_DIR: {directory} will be made when it is needed")
        return
    if not directory.is_dir():
        yield Finding(Severity.PROBLEM, f"AUTHAPI_DATA_DIR: {directory} is not a directory")
        return
    readable = [
        path
        for path in (directory, directory / SECRET_KEY_FILE, *directory.glob("*.sqlite3*"))
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & _open_to_others(path)
    ]
    for path in readable:
        mode = "go-rwx" if path.is_dir() else "600"
        yield Finding(
            Severity.PROBLEM, f"AUTHAPI_DATA_DIR: {path} is open to other users; run: chmod {mode} {path}"
        )
    if not readable:
        yield Finding(Severity.OK, f"AUTHAPI_DATA_DIR: {directory} is closed to other users")


def _open_to_others(path: Path) -> int:
    # A closed directory protects what is in it, except the key, which is copied around on its own.
    return 0o022 if path.suffix.startswith(".sqlite3") else 0o077


def _missing_file(settings: Settings) -> Finding | None:
    from sqlalchemy.engine import make_url

    if not settings.database_url.startswith("sqlite"):
        return None
    file = Path(make_url(settings.database_url).database or "")
    if file.exists():
        return None
    severity = Severity.PROBLEM if settings.is_production else Severity.WARNING
    return Finding(severity, f"the database {file} does not exist yet; run: authapi db upgrade")


async def _database(settings: Settings) -> list[Finding]:
    from authapi.migrations import SchemaBehind, SchemaState

    try:
        state = await read_schema_state(settings)
    except (CommandFailed, InvalidSettings) as failure:
        return [Finding(Severity.PROBLEM, line) for line in describe_failure(failure)]
    if state is SchemaState.BEHIND:
        # Development migrates by itself when it starts to serve.
        severity = Severity.PROBLEM if settings.is_production else Severity.WARNING
        return [Finding(severity, str(SchemaBehind()))]
    return [
        Finding(Severity.OK, f"the database answers; its schema is {state.value}"),
        await _signing_keys(settings),
    ]


async def _signing_keys(settings: Settings) -> Finding:
    from authapi.commands.environment import open_runtime
    from authapi.services.signing_keys import load_keys

    try:
        async with open_runtime(settings) as runtime, runtime.database.reading() as db:
            await load_keys(db, runtime)
    except (CommandFailed, InvalidSettings) as failure:
        return Finding(Severity.PROBLEM, "; ".join(describe_failure(failure)))
    return Finding(Severity.OK, "the signing keys open with the secret key")


async def _redis(settings: Settings) -> list[Finding]:
    from authapi.rate_limit import RateLimits

    try:
        RateLimits(settings.rate_limit)
    except ValueError as error:
        return [Finding(Severity.PROBLEM, str(error))]
    if settings.rate_limit.storage_url.startswith("memory:"):
        return []
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    client = Redis.from_url(
        settings.rate_limit.storage_url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    )
    name = "AUTHAPI_RATE_LIMIT__STORAGE_URL"
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        return [Finding(Severity.PROBLEM, f"{name}: Redis does not answer ({type(error).__name__})")]
    finally:
        await client.aclose()
    return [Finding(Severity.OK, f"{name}: Redis answers")]
