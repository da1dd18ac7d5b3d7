"""How long it takes to verify a long audit trail.

    python -m benchmarks.audit_chain [--events 100000]

Writes the events to a SQLite file and to a PostgreSQL of its own, in a temporary directory, seals them as a
running service does, and measures the real `authapi audit verify`, its start included.
"""

import argparse
import asyncio
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import insert

from authapi import clock, migrations
from authapi.enums import AuditAction, Outcome
from authapi.models import AuditEvent
from authapi.models.base import new_id
from authapi.runtime import Runtime
from authapi.services import audit_chain
from tests.conftest import make_settings
from tests.support.command import clean_environment, command_line
from tests.support.postgres import start_postgres
from tests.support.processes import scratch_directory

SECRET_KEY = "a secret key for this benchmark, and for nothing else"
USERS = 1000


def event(number: int) -> dict[str, object]:
    return {
        "id": new_id(),
        "occurred_at": clock.utc_now(),
        "action": AuditAction.USER_LOGIN_SUCCEEDED,
        "outcome": Outcome.SUCCESS,
        "reason": None,
        "actor_id": UUID(int=number % USERS),
        "subject_id": UUID(int=number % USERS),
        "user_session_id": new_id(),
        "ip": f"203.0.113.{number % 256}",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130",
        "request_id": str(new_id()),
        "details": {"second_factor": "totp", "number": number},
    }


async def write_and_seal(url: str, directory: Path, *, count: int) -> float:
    """Write the events; returns the seconds that sealing them took."""
    await migrations.upgrade(url)
    settings = make_settings(
        database_url=url,
        data_dir=directory,
        secret_key=SECRET_KEY,
        database={"timeout": timedelta(minutes=5)},
    )
    runtime = Runtime.build(settings)
    async with runtime.database.unit_of_work() as db:
        for start in range(0, count, 5000):
            rows = [event(number) for number in range(start, min(start + 5000, count))]
            await db.execute(insert(AuditEvent), rows)
    started, sealed = time.perf_counter(), 0
    while sealed < count:
        async with runtime.database.unit_of_work() as db:
            sealed += await audit_chain.seal(db, runtime)
    seconds = time.perf_counter() - started
    await runtime.close()
    return seconds


def verify(url: str, directory: Path, *, count: int) -> float:
    """Run the command; returns the seconds."""
    started = time.perf_counter()
    done = subprocess.run(
        command_line("audit", "verify"),
        cwd=directory,
        env=clean_environment(AUTHAPI_SECRET_KEY=SECRET_KEY, AUTHAPI_DATABASE__URL=url),
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    assert done.stdout == f"{count} events, nothing was touched\n", done.stdout
    return seconds


def measure(name: str, url: str, directory: Path, *, count: int) -> None:
    seal_seconds = asyncio.run(write_and_seal(url, directory, count=count))
    print(f"{name:<10} seal   {count} events: {seal_seconds:6.1f} s ({count / seal_seconds:,.0f}/s)")
    seconds = verify(url, directory, count=count)
    print(f"{name:<10} verify {count} events: {seconds:6.1f} s ({count / seconds:,.0f}/s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    count = parser.parse_args().events
    with (
        tempfile.TemporaryDirectory() as directory,
        scratch_directory() as scratch,
        start_postgres(scratch) as server,
    ):
        path = Path(directory)
        measure("sqlite", f"sqlite+aiosqlite:///{path / 'audit.sqlite3'}", path, count=count)
        server.create_database("audited")
        measure("postgresql", server.url("audited"), path, count=count)


if __name__ == "__main__":
    main()
