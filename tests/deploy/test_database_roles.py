"""postgres/roles.sh on a real server: the service's role is enough for everything, and no more."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from authapi import migrations
from authapi.services import housekeeping
from tests.conftest import http_client, make_settings, running_app
from tests.deploy.manifests import DEPLOY
from tests.support.accounts import Accounts
from tests.support.postgres import PostgresServer
from tests.support.postgres_binaries import find_binaries

PASSWORD = 'it\'s "quoted" \\ $HOME :password'


@pytest.fixture
def database(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[str]:
    """A database as the first start of the compose file leaves it; yields its name."""
    if not postgres_server.is_ours:
        pytest.skip("roles.sh was not tried: it makes a role, which belongs to a whole server")
    name = f"authapi_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    (tmp_path / "password").write_text(PASSWORD)
    run_as_superuser(postgres_server, name, ["sh", str(DEPLOY / "postgres" / "roles.sh")], tmp_path)
    yield name
    postgres_server.drop_database(name)
    psql = str(find_binaries() / "psql")
    run_as_superuser(postgres_server, "postgres", [psql, "-qc", "DROP ROLE authapi"], tmp_path)


def run_as_superuser(server: PostgresServer, database: str, command: list[str], directory: Path) -> None:
    url = make_url(server.dsn(database))
    subprocess.run(
        command,
        check=True,
        env={
            "PATH": f"{find_binaries()}:{os.defpath}",
            "PGHOST": str(url.host),
            "PGPORT": str(url.port),
            "PGUSER": str(url.username),
            "PGDATABASE": database,
            "PGPASSWORD": str(url.password),
            "POSTGRES_USER": str(url.username),
            "POSTGRES_DB": database,
            "AUTHAPI_PASSWORD_FILE": str(directory / "password"),
        },
    )


async def test_the_service_lives_with_it(
    postgres_server: PostgresServer, database: str, tmp_path: Path
) -> None:
    await migrations.upgrade(postgres_server.url(database))
    url = make_url(postgres_server.url(database)).set(username="authapi", password=PASSWORD)

    settings = make_settings(database_url=url.render_as_string(hide_password=False), data_dir=tmp_path)
    async with running_app(settings) as app, http_client(app) as client:
        accounts = Accounts(client, app.state.runtime)
        account = await accounts.log_in(await accounts.register())
        body = {"refresh_token": account.data["refresh_token"]}
        assert (await client.post("/api/auth/refresh", json=body)).status_code == 200
        assert (await client.post("/api/auth/logout-all", headers=account.headers)).status_code == 200
        assert await housekeeping.purge(app.state.runtime)

    connection = await asyncpg.connect(
        host=url.host, port=url.port, user="authapi", password=PASSWORD, database=database
    )
    try:
        for statement in (
            "CREATE TABLE public.mine (id int)",
            "CREATE TEMPORARY TABLE mine (id int)",
            "ALTER TABLE users ADD COLUMN is_god boolean",
            "DROP TABLE audit_events",
            "TRUNCATE audit_events",
            "COPY users TO PROGRAM 'cat'",
            "SELECT pg_read_file('/etc/passwd')",
            "CREATE ROLE another",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        assert await connection.fetchval("SHOW statement_timeout") == "2s"
    finally:
        await connection.close()
