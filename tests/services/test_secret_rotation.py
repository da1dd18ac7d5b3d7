"""A new secret key: what was issued before stays valid, and the old one can be dropped in the end."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import pyotp
import pytest
import time_machine
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import AuditAction
from authapi.models import AuditEvent, SigningKey
from authapi.runtime import Runtime
from authapi.services import secret_rotation
from authapi.services.secret_rotation import Resealed, reseal_everything
from authapi.settings import InvalidSettings
from tests.conftest import empty_tables, http_client, make_settings, running_app
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.hosts import Host
from tests.support.key_databases import MakeRuntime

OLD = "the first secret key of an installation"
NEW = "the second one, which is just as long as that"


class Start(Protocol):
    def __call__(self, **settings: Any) -> AbstractAsyncContextManager[FastAPI]: ...


@pytest.fixture
async def start(no_keys: str, tmp_path: Path) -> Start:
    """Starts the application as after a restart with other settings: `start(secret_key=…)`."""

    @asynccontextmanager
    async def running(**settings: Any) -> AsyncIterator[FastAPI]:
        async with running_app(make_settings(database_url=no_keys, data_dir=tmp_path, **settings)) as app:
            yield app

    return running


async def reseal(runtime: Runtime) -> list[Resealed]:
    async with runtime.database.unit_of_work() as db:
        return await reseal_everything(db, runtime)


async def count_events(runtime: Runtime) -> int:
    resealed = select(func.count()).where(AuditEvent.action == AuditAction.SECRETS_RESEALED)
    async with runtime.database.reading() as db:
        return await db.scalar(resealed) or 0


async def me(client: httpx.AsyncClient, access_token: str) -> int:
    headers = {"Authorization": f"Bearer {access_token}"}
    return (await client.get("/api/auth/me", headers=headers)).status_code


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/api/auth/refresh", json={"refresh_token": token})


async def test_nobody_is_logged_out(start: Start) -> None:
    async with start(secret_key=OLD) as app, http_client(app) as client:
        await empty_tables(app.state.runtime)
        accounts = Accounts(client, app.state.runtime)
        active, idle = await accounts.register(), await accounts.register()

    async with start(secret_key=NEW, secret_key_previous=[OLD]) as app, http_client(app) as client:
        for _ in range(2):
            assert await me(client, active.access_token) == 200
            refreshed = await refresh(client, active.data["refresh_token"])
            assert refreshed.status_code == 200
            active.data.update(refreshed.json()["data"])
            await reseal(app.state.runtime)
        assert await me(client, active.access_token) == 200

    async with start(secret_key=NEW) as app, http_client(app) as client:
        for token in (active.access_token, active.data["access_token"], idle.access_token):
            assert await me(client, token) == 200
        assert (await refresh(client, active.data["refresh_token"])).status_code == 200
        stopped = await refresh(client, idle.data["refresh_token"])
        assert stopped.json()["error"]["code"] == "invalid_refresh_token"


async def test_second_factors_outlive_the_old_one(start: Start) -> None:
    """The enrolled app and the codes that were printed years ago go on, before and after it is dropped."""
    with time_machine.travel(clock.utc_now(), tick=True) as traveller:
        async with start(secret_key=OLD) as app, http_client(app) as client:
            await empty_tables(app.state.runtime)
            account = await Accounts(client, app.state.runtime).register()
            phone, recovery_codes = await enroll(client, account)

        async with start(secret_key=NEW, secret_key_previous=[OLD]) as app, http_client(app) as client:
            traveller.shift(60)
            assert await second_step(client, account, phone.at(clock.utc_now())) == 200
            assert await second_step(client, account, recovery_codes[0]) == 200
            assert Resealed("authenticator apps", changed=1, total=1) in await reseal(app.state.runtime)
            assert await second_step(client, account, recovery_codes[1]) == 200

        async with start(secret_key=NEW) as app, http_client(app) as client:
            traveller.shift(60)
            assert await second_step(client, account, phone.at(clock.utc_now())) == 200
            for used in recovery_codes[:2]:
                assert await second_step(client, account, used) == 401
            for unused in recovery_codes[2:4]:
                assert await second_step(client, account, unused) == 200


async def enroll(client: httpx.AsyncClient, account: Account) -> tuple[pyotp.TOTP, list[str]]:
    path = "/api/auth/mfa/totp"
    begun = await client.post(path, json={"password": PASSWORD}, headers=account.headers)
    phone = pyotp.TOTP(begun.json()["data"]["secret"])
    body = {"code": phone.at(clock.utc_now())}
    confirmed = await client.post(f"{path}/confirm", json=body, headers=account.headers)
    return phone, confirmed.json()["data"]["recovery_codes"]


async def second_step(client: httpx.AsyncClient, account: Account, code: str) -> int:
    """Log in with a code; returns the status."""
    body = {"email": account.email, "password": PASSWORD}
    mfa_token = (await client.post("/api/auth/login", json=body)).json()["data"]["mfa_token"]
    response = await client.post("/api/auth/login/mfa", json={"mfa_token": mfa_token, "code": code})
    return response.status_code


class TestResealEverything:
    async def test_twice_does_no_harm(self, make_runtime: MakeRuntime) -> None:
        await Host(make_runtime(secret_key=OLD)).reload()
        both = make_runtime(secret_key=NEW, secret_key_previous=[OLD])
        events = await count_events(both)
        assert Resealed("signing keys", changed=1, total=1) in await reseal(both)
        assert Resealed("signing keys", changed=0, total=1) in await reseal(both)
        assert await count_events(both) == events + 1

    async def test_all_or_nothing(self, make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
        await Host(make_runtime(secret_key=OLD)).reload()
        both = make_runtime(secret_key=NEW, secret_key_previous=[OLD])

        async def fail(db: AsyncSession, runtime: Runtime) -> tuple[int, int]:
            raise InvalidSettings(["does not open"])

        resealers = {**secret_rotation.RESEALERS, "what does not open": fail}
        monkeypatch.setattr(secret_rotation, "RESEALERS", resealers)
        before = await sealed(both)
        with pytest.raises(InvalidSettings):
            await reseal(both)
        assert await sealed(both) == before

    async def test_without_the_old_one(self, make_runtime: MakeRuntime) -> None:
        await Host(make_runtime(secret_key=OLD)).reload()
        with pytest.raises(InvalidSettings, match="AUTHAPI_SECRET_KEY_PREVIOUS"):
            await reseal(make_runtime(secret_key=NEW))


async def sealed(runtime: Runtime) -> list[str]:
    async with runtime.database.reading() as db:
        return list(await db.scalars(select(SigningKey.sealed_private_key)))
