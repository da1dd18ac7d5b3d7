"""A backup is worth what its restore brings back: the drill of docs/operations.md, on both databases."""

import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pyotp
import pytest
from fastapi import FastAPI
from sqlalchemy.engine import make_url

from authapi import clock
from authapi.runtime import Runtime
from authapi.services import audit_chain
from authapi.settings import InvalidSettings
from tests.conftest import MakeApp, http_client, make_settings, running_app
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.postgres import PostgresServer
from tests.support.postgres_binaries import find_binaries


def back_up_and_restore(url: str, directory: Path, server: PostgresServer | None) -> str:
    """Dump a database while it is in use and restore it into a new one; returns the URL of that."""
    dump = directory / "backup"
    if server is None:
        # One consistent state, also while others write; the restore is a copy.
        with sqlite3.connect(str(make_url(url).database)) as connection:
            connection.execute("VACUUM INTO ?", [str(dump)])
        connection.close()
        restored = directory / "restored.sqlite3"
        restored.write_bytes(dump.read_bytes())
        return f"sqlite+aiosqlite:///{restored}"
    name = f"authapi_{uuid4().hex[:12]}"
    server.create_database(name)
    source = server.dsn(make_url(url).database)
    run(server, "pg_dump", "--format=custom", f"--file={dump}", without_password(source))
    target = without_password(server.dsn(name))
    run(server, "pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={target}", str(dump))
    return server.url(name)


def run(server: PostgresServer, program: str, *arguments: str) -> None:
    password = str(make_url(server.dsn()).password)
    subprocess.run(
        [str(find_binaries() / program), *arguments],
        check=True,
        capture_output=True,
        env=os.environ | {"PGPASSWORD": password},
    )


def without_password(dsn: str) -> str:
    return make_url(dsn)._replace(password=None).render_as_string()


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/api/auth/refresh", json={"refresh_token": token})


async def enroll(client: httpx.AsyncClient, account: Account) -> str:
    """Add an authenticator app to an account; returns its secret."""
    begun = await client.post("/api/auth/mfa/totp", json={"password": PASSWORD}, headers=account.headers)
    secret: str = begun.json()["data"]["secret"]
    code = {"code": pyotp.TOTP(secret).at(clock.utc_now())}
    confirmed = await client.post("/api/auth/mfa/totp/confirm", json=code, headers=account.headers)
    assert confirmed.status_code == 200, confirmed.text
    return secret


async def seal_all(runtime: Runtime) -> None:
    async with runtime.database.unit_of_work() as db:
        while await audit_chain.seal(db, runtime):
            pass


@pytest.fixture
def server(database_url: str, request: pytest.FixtureRequest) -> PostgresServer | None:
    if database_url.startswith("sqlite"):
        return None
    found: PostgresServer = request.getfixturevalue("postgres_server")
    return found


class TestDrill:
    async def test_everything_comes_back_and_what_was_revoked_stays_revoked(
        self, make_app: MakeApp, database_url: str, server: PostgresServer | None, tmp_path: Path
    ) -> None:
        async with make_app() as app, http_client(app) as client:
            accounts = Accounts(client, app.state.runtime)
            people = [await accounts.register() for _ in range(3)]
            protected = await accounts.register()
            secret = await enroll(client, protected)
            gone = await accounts.register()
            await client.post("/api/auth/logout", headers=gone.headers)
            used = people[0].data["refresh_token"]
            rotated = (await refresh(client, used)).json()["data"]["refresh_token"]
            await seal_all(app.state.runtime)
            # The service serves on meanwhile.
            restored = back_up_and_restore(database_url, tmp_path, server)
            # Made after the backup: lost, and the price of going back to it.
            late = await accounts.register()

        settings = make_settings(database_url=restored, data_dir=tmp_path / "new host")
        async with running_app(settings) as app, http_client(app) as client:
            await self.check_logins(client, people, protected, secret)
            # Nobody is logged out by the restore, and the keys are the same.
            for account in people:
                me = await client.get("/api/auth/me", headers=account.headers)
                assert me.status_code == 200, me.text
            assert (await refresh(client, people[1].data["refresh_token"])).status_code == 200
            assert (await refresh(client, rotated)).status_code == 200
            # What had ended stays ended.
            assert (await client.get("/api/auth/me", headers=gone.headers)).status_code == 401
            assert (await refresh(client, gone.data["refresh_token"])).status_code == 401
            assert (await client.post("/api/auth/login", json=credentials(late))).status_code == 401
            async with app.state.runtime.database.reading() as db:
                report = await audit_chain.verify(db, app.state.runtime)
            assert report.broken is None
            assert report.checked > 0

    async def check_logins(
        self, client: httpx.AsyncClient, people: list[Account], protected: Account, secret: str
    ) -> None:
        for account in people:
            assert (await client.post("/api/auth/login", json=credentials(account))).status_code == 200
        step = (await client.post("/api/auth/login", json=credentials(protected))).json()["data"]
        assert step["mfa_required"] is True
        # The code of the enrollment was used, also according to the backup.
        code = pyotp.TOTP(secret).at(clock.utc_now(), counter_offset=1)
        body = {"mfa_token": step["mfa_token"], "code": code}
        response = await client.post("/api/auth/login/mfa", json=body)
        assert response.status_code == 200, response.text

    async def test_without_its_secret_key_it_says_what_is_missing(
        self, app: FastAPI, database_url: str, server: PostgresServer | None, tmp_path: Path
    ) -> None:
        restored = back_up_and_restore(database_url, tmp_path, server)
        settings = make_settings(
            database_url=restored, data_dir=tmp_path, secret_key="another one, and just as long as the first"
        )
        with pytest.raises(InvalidSettings, match="AUTHAPI_SECRET_KEY"):
            async with running_app(settings):
                pass


def credentials(account: Account) -> dict[str, Any]:
    return {"email": account.email, "password": PASSWORD}
