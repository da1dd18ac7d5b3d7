"""`/health/ready` says no as long as the database cannot serve, `/health/live` never does, and both recover."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.engine import make_url

from authapi import migrations
from authapi.migrations import revisions
from authapi.runtime import Runtime
from tests.conftest import http_client, make_settings, running_app
from tests.support.accounts import PASSWORD, Accounts
from tests.support.postgres import PostgresServer


async def is_ready(client: httpx.AsyncClient) -> bool:
    assert (await client.get("/health/live")).json() == {"status": "ok"}
    response = await client.get("/health/ready")
    return response.status_code == 200


@pytest.fixture
async def older_schema(runtime: Runtime) -> AsyncIterator[None]:
    """A database that a migration is missing from, as far as it knows itself."""

    async def note(revision: str) -> None:
        async with runtime.database.unit_of_work() as db:
            await db.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})

    await note(revisions()[0])
    yield
    await note(revisions()[-1])


class TestSchema:
    @pytest.mark.usefixtures("older_schema")
    async def test_behind(self, client: httpx.AsyncClient) -> None:
        assert not await is_ready(client)
        response = await client.get("/health/ready")
        assert response.status_code == 503
        assert response.json() == {"status": "schema_behind"}
        assert response.headers["retry-after"] == "1"

    async def test_current(self, client: httpx.AsyncClient) -> None:
        assert await is_ready(client)


@dataclass(frozen=True)
class Tenant:
    """authapi as a role of PostgreSQL that may have so many connections and no more."""

    app: FastAPI
    role: str
    administrator: "asyncpg.Connection[asyncpg.Record]"

    async def allow(self, connections: int) -> None:
        """-1 is without a limit; those beyond it are ended."""
        await self.administrator.execute(f'ALTER ROLE "{self.role}" CONNECTION LIMIT {connections}')
        if connections == 0:
            await self.administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", self.role
            )


@pytest.fixture
async def tenant(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Tenant]:
    role = f"tenant_{uuid4().hex[:12]}"
    postgres_server.create_database(role)
    await migrations.upgrade(postgres_server.url(role))
    administrator = await asyncpg.connect(postgres_server.dsn(role))
    await administrator.execute(
        f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'tenant';"
        f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}";'
        f'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{role}"'
    )
    url = make_url(postgres_server.url(role)).set(username=role, password="tenant")
    settings = make_settings(database_url=url.render_as_string(hide_password=False), data_dir=tmp_path)
    async with running_app(settings) as app:
        tenant = Tenant(app, role, administrator)
        yield tenant
        await tenant.allow(-1)
    await administrator.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')
    await administrator.close()
    postgres_server.drop_database(role)


async def test_no_connection_is_left_on_the_server(tenant: Tenant) -> None:
    """SQLSTATE 53300, as where `max_connections` are reached: not now, and not a fault of ours."""
    async with http_client(tenant.app) as client:
        account = await Accounts(client, tenant.app.state.runtime).register()
        body = {"email": account.email, "password": PASSWORD}
        assert await is_ready(client)
        await tenant.allow(0)
        response = await client.get("/health/ready")
        assert (response.status_code, response.json()) == (503, {"status": "database_unreachable"})
        for answer in await asyncio.gather(*(client.post("/api/auth/login", json=body) for _ in range(5))):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        # What is in memory is still answered.
        assert (await client.get("/verify", headers=account.headers)).status_code == 200
        assert not await is_ready(client)
        await tenant.allow(-1)
        assert await is_ready(client)
        assert (await client.post("/api/auth/login", json=body)).status_code == 200
