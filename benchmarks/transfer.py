"""How long it takes to import, export and promote many users, and whether they notice.

    python -m benchmarks.transfer [--users 100000] [--checked 20]

Runs the real commands on a SQLite file and on a PostgreSQL of its own, in a temporary directory. Some of the
users log in before; afterwards their tokens and passwords must work as if nothing had happened.
"""

import argparse
import asyncio
import json
import resource
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
from sqlalchemy import insert, select

from authapi import clock
from authapi.database import Database
from authapi.models import User, UserSession
from authapi.security.passwords import PasswordHasher
from tests.conftest import http_client, make_settings, running_app
from tests.support.accounts import PASSWORD
from tests.support.command import clean_environment, command_line
from tests.support.postgres import start_postgres
from tests.support.processes import scratch_directory

SECRET_KEY = "a secret key for this benchmark, and for nothing else"


def email(number: int) -> str:
    return f"user{number}@example.com"


def write_users(file: Path, count: int) -> None:
    password_hash = PasswordHasher(rounds=4).hash(PASSWORD)
    with file.open("w") as out:
        for number in range(count):
            values = {"email": email(number), "full_name": f"Ada {number}", "password_hash": password_hash}
            out.write(json.dumps(values) + "\n")


async def run(directory: Path, *arguments: str) -> float:
    """Run a command; returns the seconds."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command_line(*arguments),
        cwd=directory,
        env=clean_environment(AUTHAPI_SECRET_KEY=SECRET_KEY),
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0, arguments[0]
    return time.perf_counter() - started


async def add_sessions(url: str) -> None:
    """A session for every user, as after some weeks of service."""
    database = Database(url, pool_size=1, timeout=timedelta(minutes=5))
    now = clock.utc_now()
    async with database.unit_of_work() as db:
        ids = (await db.scalars(select(User.id))).all()
        values = {
            "rotated_at": now,
            "last_used_at": now,
            "auth_time": now,
            "expires_at": now + timedelta(days=30),
            "idle_expires_at": now + timedelta(days=14),
            "amr": ["pwd"],
            "client_id": "authapi",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130",
        }
        for start in range(0, len(ids), 5000):
            rows = [values | {"user_id": id} for id in ids[start : start + 5000]]
            await db.execute(insert(UserSession), rows)
    await database.close()


@asynccontextmanager
async def serving(url: str, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = make_settings(database_url=url, data_dir=directory / ".authapi", secret_key=SECRET_KEY)
    async with running_app(settings) as app, http_client(app) as client:
        yield client


async def log_in(client: httpx.AsyncClient, number: int) -> dict[str, str]:
    body = {"email": email(number), "password": PASSWORD}
    response = await client.post("/api/auth/login", json=body)
    assert response.status_code == 200, response.text
    data: dict[str, str] = response.json()["data"]
    return data


async def check(client: httpx.AsyncClient, number: int, before: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {before['access_token']}"}
    assert (await client.get("/api/auth/me", headers=headers)).status_code == 200
    body = {"refresh_token": before["refresh_token"]}
    assert (await client.post("/api/auth/refresh", json=body)).status_code == 200
    await log_in(client, number)


async def measure(directory: Path, target_url: str, *, count: int, checked: int) -> None:
    source_url = f"sqlite+aiosqlite:///{directory / '.authapi' / 'authapi.sqlite3'}"
    await run(directory, "db", "upgrade")
    write_users(directory / "users.jsonl", count)
    print(f"import   {count} users: {await run(directory, 'users', 'import', 'users.jsonl'):6.1f} s")
    seconds = await run(directory, "users", "export", "out.csv", "--include-password-hashes")
    print(f"export   {count} users: {seconds:6.1f} s")
    await add_sessions(source_url)
    numbers = range(0, count, max(1, count // checked))
    async with serving(source_url, directory) as client:
        before = {number: await log_in(client, number) for number in numbers}
    print(f"promote  {count} users: {await run(directory, 'promote', '--to', target_url):6.1f} s")
    async with serving(target_url, directory) as client:
        for number, tokens in before.items():
            await check(client, number, tokens)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"checked  {len(before)} users: same access token, same refresh token, same password")
    print(f"the largest of the processes took {memory} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--checked", type=int, default=20)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        scratch_directory() as scratch,
        start_postgres(scratch) as server,
    ):
        server.create_database("promoted")
        asyncio.run(
            measure(Path(directory), server.url("promoted"), count=arguments.users, checked=arguments.checked)
        )


if __name__ == "__main__":
    main()
