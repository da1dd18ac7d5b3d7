"""F16: the disk is full."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from tests.faults.http import Client
from tests.faults.scenarios import NotTried, World, scenario
from tests.faults.served import Authapi
from tests.faults.traffic import until
from tests.support.postgres import start_postgres

SQLITE_MIB = 24
# A new PostgreSQL, and a few segments of its log.
POSTGRES_MIB = 256


@contextmanager
def small_disk(directory: Path, *, mebibytes: int) -> Iterator[Path]:
    """A file system of its own in the directory; raises `NotTried` where that needs rights we lack."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "tmpfs", str(directory)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        raise NotTried(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=False)


def fill(directory: Path) -> Path:
    """Use up the disk to the last byte."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 1024 * 1024
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
    return ballast


@scenario("F16", "the disk with the SQLite database and the log is full")
async def full_disk(world: World) -> str:
    with small_disk(world.new_directory(), mebibytes=SQLITE_MIB) as disk:
        url = f"sqlite+aiosqlite:///{disk / 'authapi.sqlite3'}"
        authapi = Authapi(world.new_directory(), url, output=disk / "output")
        try:
            await authapi.start()
            figures = await _fill_and_free(authapi, disk)
        finally:
            authapi.kill()
        size = os.path.getsize(disk / "authapi.sqlite3")
        with sqlite3.connect(disk / "authapi.sqlite3") as connection:
            (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
        connection.close()
    assert integrity == "ok", integrity
    return f"{figures}; integrity ok (file {size // 1024} KiB)"


@scenario("F16b", "the disk of PostgreSQL is full")
async def full_disk_of_the_server(world: World) -> str:
    with (
        small_disk(world.new_directory(), mebibytes=POSTGRES_MIB) as disk,
        start_postgres(disk, durable=True) as server,
    ):
        url = await world.new_postgres_url(server)

        async def revive() -> None:
            # It ends itself when it cannot write its log; whoever watches over it starts it again.
            try:
                connection = await asyncpg.connect(server.dsn(), timeout=2)
            except (OSError, TimeoutError, asyncpg.PostgresError):
                await asyncio.to_thread(server.restart)
            else:
                await connection.close()

        async with world.authapi(url) as authapi:
            return await _fill_and_free(authapi, disk, revive=revive)


async def _nothing_to_revive() -> None: ...


async def _fill_and_free(
    authapi: Authapi, disk: Path, *, revive: Callable[[], Awaitable[None]] = _nothing_to_revive
) -> str:
    client = authapi.client
    acknowledged = [f"before{number}@example.com" for number in range(5)]
    accounts = [await client.account(email) for email in acknowledged]
    ballast = fill(disk)
    refused = 0
    for number in range(60):
        email = f"full{number}@example.com"
        answer = await client.register(email)
        # What still fits into the pages that the file has is acknowledged, and must be there later.
        if answer.status == 201:
            acknowledged.append(email)
        else:
            assert answer.status == 503, f"a write is answered {answer.status}"
            assert "retry-after" in answer.headers
            refused += 1
    assert refused, "the disk was not full"
    # From memory, as long as it is known what was revoked.
    verified = await client.get("/verify", token=accounts[0]["access_token"])
    live = await client.get("/health/live")
    assert (verified.status, live.status) == (200, 200), f"verify {verified.status}, live {live.status}"
    ballast.unlink()
    await revive()
    seconds = await until(lambda: _can_register(client), seconds=10)
    assert seconds <= 5, f"writes again after {seconds:.1f} s"
    for email in acknowledged:
        await asyncio.sleep(0)
        assert (await client.log_in(email)).status == 200, f"{email} was acknowledged and is gone"
    return (
        f"{refused} of 60 writes 503, verify and live 200; writes again "
        f"{seconds:.2f} s after there was room; all {len(acknowledged)} acknowledged accounts are there"
    )


async def _can_register(client: Client) -> bool:
    return (await client.register(f"after{os.urandom(4).hex()}@example.com")).status == 201
