"""Sessions and factors: what a change of the password does, and what others can end."""

from datetime import timedelta

import httpx
import pyotp
import pytest
from sqlalchemy import select

from authapi import clock
from authapi.models import RecoveryCode
from authapi.runtime import Runtime
from authapi.security import totp
from tests.support.accounts import PASSWORD, Accounts

pytestmark = pytest.mark.one_database

CHANGE = "/api/auth/password/change"
NEW_PASSWORD = "another Good horse 8"


async def log_in(client: httpx.AsyncClient, email: str, password: str) -> int:
    return (await client.post("/api/auth/login", json={"email": email, "password": password})).status_code


async def me(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    return (await client.get("/api/auth/me", headers=headers)).status_code


async def test_asvs_6_2_3(client: httpx.AsyncClient, accounts: Accounts) -> None:
    """A password is changed with the old one only (also 6.2.2)."""
    account = await accounts.register()
    for old in ("wrong Horse 7 battery", ""):
        body = {"current_password": old, "new_password": NEW_PASSWORD}
        refused = await client.post(CHANGE, json=body, headers=account.headers)
        assert refused.status_code in {401, 422}
    without = await client.post(CHANGE, json={"new_password": NEW_PASSWORD}, headers=account.headers)
    assert without.status_code == 422
    assert await log_in(client, account.email, PASSWORD) == 200

    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await client.post(CHANGE, json=body, headers=account.headers)).status_code == 200
    assert await log_in(client, account.email, PASSWORD) == 401
    assert await log_in(client, account.email, NEW_PASSWORD) == 200


async def test_asvs_7_4_3(client: httpx.AsyncClient, accounts: Accounts) -> None:
    """A new password ends the other sessions, unasked."""
    stranger = await accounts.register()
    owner = await accounts.log_in(stranger)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await client.post(CHANGE, json=body, headers=owner.headers)).status_code == 200
    assert await me(client, stranger.headers) == 401
    refreshed = await client.post("/api/auth/refresh", json={"refresh_token": stranger.data["refresh_token"]})
    assert refreshed.status_code == 401


async def test_asvs_7_4_5(client: httpx.AsyncClient, accounts: Accounts) -> None:
    """An administrator ends every session of a user, and of nobody else."""
    account, bystander, admin = await accounts.register(), await accounts.register(), await accounts.admin()
    second = await accounts.log_in(account)
    response = await client.post(f"/api/admin/users/{account.id}/logout", headers=admin.headers)
    assert response.status_code == 200, response.text
    assert await me(client, account.headers) == 401
    assert await me(client, second.headers) == 401
    assert await me(client, bystander.headers) == 200


async def test_asvs_7_5_1(client: httpx.AsyncClient, accounts: Accounts) -> None:
    """Another address, another factor: a token is not enough, the password is asked for."""
    account = await accounts.register()
    wrong = "wrong Horse 7 battery"
    change = {"new_email": "elsewhere@example.com", "password": wrong}
    assert (
        await client.post("/api/auth/email/change", json=change, headers=account.headers)
    ).status_code == 401
    enrollment = await client.post("/api/auth/mfa/totp", json={"password": wrong}, headers=account.headers)
    assert enrollment.status_code == 401
    profile = (await client.get("/api/profile", headers=account.headers)).json()["data"]
    assert profile["email"] == account.email


async def test_asvs_6_5_2(client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime) -> None:
    """Of a recovery code a keyed digest is stored; the code itself has 120 bits (also 6.5.4)."""
    account = await accounts.register()
    path = "/api/auth/mfa/totp"
    started = await client.post(path, json={"password": PASSWORD}, headers=account.headers)
    code = pyotp.TOTP(started.json()["data"]["secret"]).at(clock.utc_now())
    confirmed = await client.post(f"{path}/confirm", json={"code": code}, headers=account.headers)
    codes = confirmed.json()["data"]["recovery_codes"]
    assert {len(code.replace("-", "")) * 5 for code in codes} == {120}
    async with runtime.database.unit_of_work() as db:
        stored = (await db.scalars(select(RecoveryCode.code_hash))).all()
    assert {len(digest) for digest in stored} == {32}
    assert not [code for code in codes for digest in stored if code.encode() in digest]


def test_asvs_6_5_5() -> None:
    """A code of six digits is good for its half minute and its two neighbours."""
    secret, now = totp.generate_secret(), clock.utc_now()
    codes = {steps: pyotp.TOTP(secret).at(now + steps * totp.STEP) for steps in range(-3, 4)}
    assert timedelta(seconds=30) == totp.STEP
    good = {steps for steps, code in codes.items() if totp.matching_step(secret, code, now=now) is not None}
    near = {-1, 0, 1}
    assert near <= good
    assert not [steps for steps in good - near if codes[steps] not in {codes[other] for other in near}]
