"""A stranger registers somebody's address in advance: what he set up must not outlive the owner's arrival."""

from urllib.parse import urlsplit

import httpx
import pyotp
import pytest
from fastapi import FastAPI

from authapi import clock
from authapi.repositories import second_factors, users
from authapi.runtime import Runtime
from authapi.services import login_throttle, mail_links
from tests.conftest import http_client
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.mails import Mails, new_address, token_of

OWN_PASSWORD = "owner Chooses 9 words"
TOTP = "/api/auth/mfa/totp"


@pytest.fixture
def mails(app: FastAPI) -> Mails:
    return Mails(app)


class Stranger:
    """Has registered the address, is logged in twice, and has enrolled an authenticator app."""

    def __init__(self, client: httpx.AsyncClient, account: Account) -> None:
        self.client = client
        self.account = account
        self.second_login: dict[str, str] = {}
        self.recovery_codes: list[str] = []
        self.mfa_token = ""

    @classmethod
    async def move_in(cls, client: httpx.AsyncClient, accounts: Accounts, email: str) -> "Stranger":
        stranger = cls(client, await accounts.register(email, full_name="Mallory"))
        stranger.second_login = (await accounts.log_in(stranger.account)).data
        headers = stranger.account.headers
        started = await client.post(TOTP, json={"password": PASSWORD}, headers=headers)
        code = pyotp.TOTP(started.json()["data"]["secret"]).at(clock.utc_now())
        confirmed = await client.post(f"{TOTP}/confirm", json={"code": code}, headers=headers)
        stranger.recovery_codes = confirmed.json()["data"]["recovery_codes"]
        login = await client.post("/api/auth/login", json={"email": email, "password": PASSWORD})
        stranger.mfa_token = login.json()["data"]["mfa_token"]
        return stranger

    async def doors(self) -> dict[str, int]:
        """The status of every way in that he has prepared."""
        client, data = self.client, self.account.data
        bearers = {"first": data["access_token"], "second": self.second_login["access_token"]}
        doors = {
            f"{name} access token": await client.get(
                "/api/auth/me", headers={"Authorization": f"Bearer {token}"}
            )
            for name, token in bearers.items()
        }
        for name, token in (
            ("first", data["refresh_token"]),
            ("second", self.second_login["refresh_token"]),
        ):
            doors[f"{name} refresh token"] = await client.post(
                "/api/auth/refresh", json={"refresh_token": token}
            )
        doors["password"] = await client.post(
            "/api/auth/login", json={"email": self.account.email, "password": PASSWORD}
        )
        doors["half a login"] = await client.post(
            "/api/auth/login/mfa", json={"mfa_token": self.mfa_token, "code": self.recovery_codes[0]}
        )
        return {name: response.status_code for name, response in doors.items()}


async def test_a_reset_leaves_the_stranger_nothing(
    app: FastAPI, runtime: Runtime, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
) -> None:
    email = new_address()
    stranger = await Stranger.move_in(client, accounts, email)
    verify_token = await mails.token(email, mail_links.VERIFY_EMAIL)

    async with http_client(app, address="192.0.2.1") as owner:
        taken = await owner.post(
            "/api/auth/register", json={"email": email, "password": OWN_PASSWORD, "full_name": "Ada"}
        )
        assert taken.status_code == 409
        await owner.post("/api/auth/password/forgot", json={"email": email})
        token = await mails.token(email, mail_links.RESET_PASSWORD)
        done = await owner.post(
            "/api/auth/password/reset", json={"token": token, "new_password": OWN_PASSWORD}
        )
        assert done.status_code == 200

        assert set((await stranger.doors()).values()) == {401}
        # The factor is gone: the owner's password is enough again, and his address counts as verified.
        login = await owner.post("/api/auth/login", json={"email": email, "password": OWN_PASSWORD})
        assert login.status_code == 200
        headers = {"Authorization": f"Bearer {login.json()['data']['access_token']}"}
        profile = await owner.get("/api/profile", headers=headers)
        assert profile.json()["data"]["email_verified"] is True
        sessions = await owner.get("/api/auth/sessions", headers=headers)
        assert [session["current"] for session in sessions.json()["data"]] == [True]

    # His device has lost its budget: guessing from it counts like from any other.
    device_token = stranger.account.data["device_token"]
    guess = {"email": email, "password": "wrong", "device_token": device_token}
    statuses = [
        (await client.post("/api/auth/login", json=guess)).status_code
        for _ in range(login_throttle.PAIR.free + 1)
    ]
    assert statuses[-1] == 429
    # The link of the first mail decides nothing any more: the account is the owner's.
    for path in (mail_links.VERIFY_EMAIL, mail_links.DISOWN_ACCOUNT):
        assert (await client.post(path, data={"token": verify_token})).status_code == 400
    async with runtime.database.reading() as db:
        assert await second_factors.find_totp(db, user_id=stranger.account.id) is None
        assert await second_factors.count_recovery_codes(db, user_id=stranger.account.id) == 0
        assert (await users.count_held(db, stranger.account.id, now=clock.utc_now())).devices <= 2


async def test_disowning_removes_the_account_and_frees_the_address(
    client: httpx.AsyncClient, accounts: Accounts, mails: Mails
) -> None:
    email = new_address()
    stranger = await Stranger.move_in(client, accounts, email)
    link = urlsplit(await mails.link(email, mail_links.VERIFY_EMAIL))
    page = await client.get(f"{link.path}?{link.query}")
    assert page.status_code == 200
    # When and from where it was made.
    assert "203.0.113.7" in page.text
    assert "python-httpx" in page.text
    assert 'action="/disown-account"' in page.text
    form = {"token": token_of(link.geturl())}
    assert (await client.post(mail_links.DISOWN_ACCOUNT, data=form)).status_code == 200
    assert set((await stranger.doors()).values()) == {401}
    body = {"email": email, "password": OWN_PASSWORD, "full_name": "Ada"}
    assert (await client.post("/api/auth/register", json=body)).status_code == 201


async def test_a_verified_account_cannot_be_disowned(
    client: httpx.AsyncClient, accounts: Accounts, mails: Mails, runtime: Runtime
) -> None:
    account, admin = await accounts.register(new_address()), await accounts.admin(new_address())
    token = await mails.token(account.email, mail_links.VERIFY_EMAIL)
    # The link is left unused: an administrator vouches for the address.
    response = await client.post(f"/api/admin/users/{account.id}/verify-email", headers=admin.headers)
    assert response.status_code == 200, response.text
    page = await client.get(mail_links.VERIFY_EMAIL, params={"token": token})
    assert "/disown-account" not in page.text
    refused = await client.post(mail_links.DISOWN_ACCOUNT, data={"token": token})
    assert refused.status_code == 400
    assert (await client.get("/api/auth/me", headers=account.headers)).status_code == 200
