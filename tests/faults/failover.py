"""F7: the primary dies, its streaming replica is promoted, and the address leads there."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from sqlalchemy.engine import make_url

from tests.faults.proxy import proxied
from tests.faults.scenarios import NotTried, World, scenario
from tests.faults.traffic import assert_refused_in_good_order, database_calls, load, statuses, until
from tests.support.postgres import start_postgres
from tests.support.postgres_binaries import find_binaries, reachable_binaries
from tests.support.processes import Account, ServerProcess, run_as, server_environment


@contextmanager
def replica_of(dsn: str, directory: Path) -> Iterator[ServerProcess]:
    """A running copy that follows the server; raises `NotTried` where the tools are missing."""
    account = Account.nobody() if os.geteuid() == 0 else None
    home = directory / "replica"
    home.mkdir(mode=0o711)
    binaries = reachable_binaries(find_binaries(), account=account, directory=home)
    if not (binaries / "pg_basebackup").exists():
        raise NotTried("pg_basebackup is missing, which copies the primary")
    data = home / "data"
    data.mkdir(mode=0o700)
    if account is not None:
        os.chown(data, account.uid, account.gid)
    copied = subprocess.run(
        [str(binaries / "pg_basebackup"), "-d", dsn, "-D", str(data), "-R", "-X", "stream", "-c", "fast"],
        check=False,
        capture_output=True,
        text=True,
        cwd=home,
        env=server_environment(),
        **run_as(account),
    )
    if copied.returncode:
        raise NotTried(f"the primary cannot be copied here: {copied.stderr.strip()[-300:]}")
    process = ServerProcess(
        name="replica",
        command=lambda port: [
            *(str(binaries / "postgres"), "-D", str(data), "-p", str(port)),
            *("-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"),
            *("-c", "max_connections=200"),
        ],
        is_ready=lambda _pid, _port: _state(data) in {"ready", "standby"},
        directory=home,
        account=account,
        stop_signal=signal.SIGINT,
    )
    process.start()
    try:
        yield process
    finally:
        process.kill()


def _state(data: Path) -> str:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return ""
    return lines[7].strip() if len(lines) >= 8 else ""


@scenario("F7", "failover to a synchronous streaming replica under load")
async def failover(world: World) -> str:
    with start_postgres(world.new_directory()) as primary:
        url = await world.new_postgres_url(primary)
        address = make_url(url)
        assert address.port is not None
        with replica_of(primary.dsn(), world.new_directory()) as replica:
            await _execute(
                primary.dsn(),
                "ALTER SYSTEM SET synchronous_standby_names = '*'",
                "SELECT pg_reload_conf()",
            )
            async with proxied(address.port) as proxy:
                through = address.set(port=proxy.port).render_as_string(hide_password=False)
                async with (
                    world.authapi(through) as authapi,
                    load(await database_calls(authapi.client)) as running,
                ):
                    client = authapi.client
                    await asyncio.sleep(1)
                    acknowledged = [f"synchronous{number}@example.com" for number in range(10)]
                    for email in acknowledged:
                        await client.account(email)
                    await asyncio.to_thread(primary.kill)
                    promoted = make_url(primary.dsn()).set(port=replica.port)
                    await _execute(
                        promoted.render_as_string(hide_password=False),
                        "SELECT pg_promote(true)",
                        "ALTER SYSTEM SET synchronous_standby_names = ''",
                        "SELECT pg_reload_conf()",
                    )
                    proxy.target = replica.port
                    proxy.cut()
                    since = time.monotonic()

                    async def writes() -> bool:
                        return (await client.register(f"new{time.monotonic_ns()}@example.com")).status == 201

                    seconds = await until(writes, seconds=15)
                    settled = time.monotonic()
                    await asyncio.sleep(2)
                    logins = [await client.log_in(email) for email in acknowledged]
    assert_refused_in_good_order(running.sent)
    assert {answer.status for answer in logins} == {200}, "an acknowledged account is gone"
    assert seconds <= 5, f"first write {seconds:.1f} s after the promotion"
    after = statuses(running.between(settled + 1))
    assert set(after) == {200}, f"afterwards: {after}"
    refused = statuses(running.between(since - 60))[503]
    return (
        f"first write {seconds:.2f} s after the promotion, {refused} x 503 and no other failure; all "
        f"{len(acknowledged)} acknowledged accounts are there (with an asynchronous replica those may be lost "
        "that it had not received)"
    )


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=30)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
