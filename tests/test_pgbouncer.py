"""A real PgBouncer in transaction mode between authapi and PostgreSQL."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from authapi import migrations
from authapi.database import Database
from tests.conftest import http_client, make_settings, running_app
from tests.support.accounts import Accounts
from tests.support.postgres import PostgresServer
from tests.support.processes import Account, ServerProcess

SERVER_CONNECTIONS = 3

CONFIGURATION = """
[databases]
{database} = host={host} port={port} dbname={database}
[pgbouncer]
listen_addr = 127.0.0.1
unix_socket_dir =
auth_type = scram-sha-256
auth_file = users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
"""


@pytest.fixture
async def behind_pgbouncer(postgres_server: PostgresServer, server_directory: Path) -> AsyncIterator[URL]:
    """The URL of a migrated database that is reached through PgBouncer."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("PgBouncer was not tried: it is not installed; apt-get install pgbouncer")
    name = f"authapi_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    await migrations.upgrade(postgres_server.url(name))
    url = make_url(postgres_server.url(name))
    home = server_directory / f"pgbouncer-{name}"
    home.mkdir(mode=0o755)
    (home / "users").write_text(f'"{url.username}" "{url.password}"\n')

    def command(port: int) -> list[str]:
        values = {"database": name, "host": url.host, "port": url.port, "size": SERVER_CONNECTIONS}
        settings = CONFIGURATION.format(**values) + f"listen_port = {port}\n"
        (home / "pgbouncer.ini").write_text(settings)
        return [program, "pgbouncer.ini"]

    # Like PostgreSQL, it does not run as root.
    account = Account.nobody() if home.owner() == "root" else None
    process = ServerProcess(
        name="pgbouncer", command=command, is_ready=_listens, directory=home, account=account
    )
    process.start()
    try:
        yield url.set(host="127.0.0.1", port=process.port)
    finally:
        process.kill()
        postgres_server.drop_database(name)


def _listens(_pid: int, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_more_requests_than_server_connections(behind_pgbouncer: URL, tmp_path: Path) -> None:
    url = behind_pgbouncer.render_as_string(hide_password=False)
    settings = make_settings(
        database_url=url, data_dir=tmp_path, database={"pgbouncer": True, "pool_size": 40, "timeout": 20}
    )
    async with running_app(settings) as app, http_client(app, timeout=60) as client:

        async def live(number: int) -> None:
            accounts = Accounts(client, app.state.runtime)
            account = await accounts.log_in(await accounts.register(f"user{number}@example.com"))
            body = {"refresh_token": account.data["refresh_token"]}
            for path, options in (("refresh", {"json": body}), ("logout", {"headers": account.headers})):
                response = await client.post(f"/api/auth/{path}", **options)
                assert response.status_code == 200, response.text

        await asyncio.gather(*(live(number) for number in range(30)))

    # What was prepared by name would have stayed on whichever connection it was prepared on.
    for _ in range(SERVER_CONNECTIONS):
        connection = await asyncpg.connect(url.replace("+asyncpg", ""), statement_cache_size=0)
        try:
            async with connection.transaction():
                assert (
                    await connection.fetch("SELECT name FROM pg_prepared_statements WHERE name <> ''") == []
                )
        finally:
            await connection.close()


async def test_without_the_setting_it_refuses_the_connection(behind_pgbouncer: URL) -> None:
    database = Database(behind_pgbouncer.render_as_string(hide_password=False))
    try:
        with pytest.raises((DBAPIError, asyncpg.PostgresError), match="unsupported startup parameter"):
            async with database.reading() as db:
                await db.execute(text("SELECT 1"))
    finally:
        await database.close()
