"""Forgotten passwords over HTTP, on both databases."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import pyotp
import pytest
import time_machine
from fastapi import FastAPI

from authapi import clock, errors
from authapi.enums import MailKind, OneTimeTokenPurpose
from authapi.runtime import Runtime
from authapi.services import login_throttle, mail_links, one_time_tokens
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.mails import Mails, new_address
from tests.support.statements import statements_of_requests

FORGOT = "/api/auth/password/forgot"
RESET = "/api/auth/password/reset"
VERIFY = "/api/auth/email/verify"
RESEND = "/api/auth/email/verify/resend"
REGISTER = "/api/auth/register"
LOGIN = "/api/auth/login"
ME = "/api/auth/me"
PAGE = mail_links.RESET_PASSWORD
NEW_PASSWORD = "another Horse 8 staple"


@pytest.fixture
def mails(app: FastAPI) -> Mails:
    return Mails(app)


@pytest.fixture
async def account(client: httpx.AsyncClient, accounts: Accounts, mails: Mails) -> Account:
    """A user with a verified address."""
    account = await accounts.register(new_address())
    token = await mails.token(account.email, mail_links.VERIFY_EMAIL)
    assert (await client.post(VERIFY, json={"token": token})).status_code == 200
    return account


async def forgot(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post(FORGOT, json={"email": email})


async def reset(client: httpx.AsyncClient, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
    return await client.post(RESET, json={"token": token, "new_password": password})


async def log_in(client: httpx.AsyncClient, email: str, password: str, **extra: str) -> httpx.Response:
    return await client.post(LOGIN, json={"email": email, "password": password, **extra})


def code_of(response: httpx.Response) -> str:
    code: str = response.json()["error"]["code"]
    return code


def shape(response: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    own = {"x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset"}
    return response.status_code, response.json(), {k: v for k, v in response.headers.items() if k not in own}


class TestReset:
    async def test_replaces_the_password_and_ends_every_session(
        self, client: httpx.AsyncClient, account: Account, mails: Mails
    ) -> None:
        assert (await forgot(client, account.email.upper())).status_code == 202
        response = await reset(client, await mails.token(account.email, PAGE))
        assert response.status_code == 200
        # It logs nobody in.
        assert response.json()["data"].keys() == {"device_token"}
        assert (await client.get(ME, headers=account.headers)).status_code == 401
        refresh = {"refresh_token": account.data["refresh_token"]}
        assert (await client.post("/api/auth/refresh", json=refresh)).status_code == 401
        assert (await log_in(client, account.email, PASSWORD)).status_code == 401
        assert (await log_in(client, account.email, NEW_PASSWORD)).status_code == 200
        assert (await mails.written_to(account.email))[-1] == MailKind.PASSWORD_CHANGED

    async def test_the_device_token_gets_the_owner_past_strangers(
        self, app: FastAPI, client: httpx.AsyncClient, account: Account, mails: Mails
    ) -> None:
        for number in range(login_throttle.ACCOUNT.free):
            async with http_client(app, address=f"198.51.100.{number}") as stranger:
                await log_in(stranger, account.email, "wrong")
        assert code_of(await log_in(client, account.email, PASSWORD)) == "too_many_attempts"
        await forgot(client, account.email)
        response = await reset(client, await mails.token(account.email, PAGE))
        assert code_of(await log_in(client, account.email, NEW_PASSWORD)) == "too_many_attempts"
        device_token = response.json()["data"]["device_token"]
        known = await log_in(client, account.email, NEW_PASSWORD, device_token=device_token)
        assert known.status_code == 200

    async def test_devices_of_before_are_strangers(
        self, client: httpx.AsyncClient, app: FastAPI, account: Account, mails: Mails
    ) -> None:
        """Whoever has known the old password has none left that lets him guess more often than strangers."""
        await forgot(client, account.email)
        assert (await reset(client, await mails.token(account.email, PAGE))).status_code == 200
        for number in range(login_throttle.ACCOUNT.free):
            async with http_client(app, address=f"198.51.100.{number}") as stranger:
                await log_in(stranger, account.email, "wrong")
        guess = await log_in(client, account.email, "wrong", device_token=account.data["device_token"])
        assert guess.status_code == 429

    async def test_a_password_that_is_refused_does_not_cost_the_link(
        self, client: httpx.AsyncClient, account: Account, mails: Mails
    ) -> None:
        await forgot(client, account.email)
        token = await mails.token(account.email, PAGE)
        refused = await reset(client, token, "short")
        assert (refused.status_code, code_of(refused)) == (422, "weak_password")
        fields = refused.json()["error"]["fields"]
        assert {field["code"] for field in fields} >= {"password_too_short", "password_needs_digit"}
        assert {tuple(field["loc"]) for field in fields} == {("body", "new_password")}
        assert (await reset(client, token)).status_code == 200

    async def test_of_fifty_at_once_one_wins(
        self, client: httpx.AsyncClient, account: Account, mails: Mails
    ) -> None:
        await forgot(client, account.email)
        token = await mails.token(account.email, PAGE)
        passwords = [f"{NEW_PASSWORD} {number}" for number in range(50)]
        responses = await asyncio.gather(*(reset(client, token, password) for password in passwords))
        statuses = Counter(response.status_code for response in responses)
        assert statuses[200] == 1
        assert statuses.keys() <= {200, 400, 503}
        winner = passwords[[response.status_code for response in responses].index(200)]
        assert (await log_in(client, account.email, winner)).status_code == 200

    async def test_whatever_is_wrong_with_a_token_is_told_alike(
        self, client: httpx.AsyncClient, accounts: Accounts, account: Account, mails: Mails
    ) -> None:
        unverified = await accounts.register(new_address())
        other_purpose = await mails.token(unverified.email, mail_links.VERIFY_EMAIL)
        await forgot(client, account.email)
        replaced = await mails.token(account.email, PAGE)
        await forgot(client, account.email)
        newest = await mails.token(account.email, PAGE, count=2)
        refused = [await reset(client, token) for token in ("authapi_ott_unknown", replaced, other_purpose)]
        with time_machine.travel(clock.utc_now().timestamp() + 30 * 60 + 1, tick=True):
            refused.append(await reset(client, newest))
        assert (await reset(client, newest)).status_code == 200
        refused.append(await reset(client, newest))
        bodies = [response.json() for response in refused]
        for body in bodies:
            body["error"].pop("request_id")
        assert {response.status_code for response in refused} == {400}
        assert all(body == bodies[0] for body in bodies)

    async def test_a_disabled_account_is_not_reset(
        self, client: httpx.AsyncClient, accounts: Accounts, account: Account, mails: Mails
    ) -> None:
        admin = await accounts.admin(new_address())
        await forgot(client, account.email)
        token = await mails.token(account.email, PAGE)
        await client.post(f"/api/admin/users/{account.id}/disable", headers=admin.headers)
        assert code_of(await reset(client, token)) == "invalid_one_time_token"

    async def test_what_was_under_way_ends_but_the_undoing_of_a_change(
        self, runtime: Runtime, client: httpx.AsyncClient, account: Account, mails: Mails
    ) -> None:
        tokens = {}
        async with runtime.database.unit_of_work() as db:
            for purpose in (
                OneTimeTokenPurpose.CHANGE_EMAIL,
                OneTimeTokenPurpose.LOGIN_SECOND_FACTOR,
                OneTimeTokenPurpose.UNDO_EMAIL_CHANGE,
            ):
                tokens[purpose] = await one_time_tokens.issue(
                    db, runtime, purpose=purpose, user_id=account.id
                )
        await forgot(client, account.email)
        await reset(client, await mails.token(account.email, PAGE))
        alive = []
        async with runtime.database.reading() as db:
            for purpose, token in tokens.items():
                with suppress(errors.InvalidOneTimeToken):
                    await one_time_tokens.find(db, purpose=purpose, token=token)
                    alive.append(purpose)
        assert alive == [OneTimeTokenPurpose.UNDO_EMAIL_CHANGE]


class TestSecondFactor:
    async def test_of_a_verified_account_stays(
        self, client: httpx.AsyncClient, account: Account, mails: Mails
    ) -> None:
        totp = "/api/auth/mfa/totp"
        started = await client.post(totp, json={"password": PASSWORD}, headers=account.headers)
        phone = pyotp.TOTP(started.json()["data"]["secret"])
        confirmed = await client.post(
            f"{totp}/confirm", json={"code": phone.at(clock.utc_now())}, headers=account.headers
        )
        assert confirmed.status_code == 200
        await forgot(client, account.email)
        await reset(client, await mails.token(account.email, PAGE))
        login = await log_in(client, account.email, NEW_PASSWORD)
        assert login.json()["data"]["mfa_required"] is True


class TestForgot:
    async def test_answers_alike_and_mails_only_active_accounts(
        self, client: httpx.AsyncClient, accounts: Accounts, account: Account, mails: Mails
    ) -> None:
        disabled, admin = await accounts.register(new_address()), await accounts.admin(new_address())
        await client.post(f"/api/admin/users/{disabled.id}/disable", headers=admin.headers)
        nobody = new_address()
        answers = [await forgot(client, email) for email in (account.email, disabled.email, nobody)]
        assert answers[0].status_code == 202
        assert all(shape(answer) == shape(answers[0]) for answer in answers)
        assert (await mails.written_to(account.email))[-1] == MailKind.RESET_PASSWORD
        assert MailKind.RESET_PASSWORD not in await mails.written_to(disabled.email)
        assert await mails.written_to(nobody) == []

    async def test_the_cap_does_not_show(
        self, client: httpx.AsyncClient, account: Account, mails: Mails
    ) -> None:
        answers = [await forgot(client, account.email) for _ in range(7)]
        assert all(shape(answer) == shape(answers[0]) for answer in answers)
        assert Counter(await mails.written_to(account.email))[MailKind.RESET_PASSWORD] == 5
        # The last mail that was written still works: strangers cannot keep the owner out.
        assert (await reset(client, await mails.token(account.email, PAGE, count=5))).status_code == 200


class TestEqualWork:
    """What has an account costs the database as much as what has none (ASVS 6.3.8)."""

    @staticmethod
    async def statements(app: FastAPI, ask: Callable[[], Any]) -> list[str]:
        with statements_of_requests(app.state.runtime) as statements:
            response = await ask()
        assert response.status_code == 202
        # A stand-in is rolled back, where an account is kept.
        return [
            "end of savepoint" if text.startswith(("RELEASE SAVEPOINT", "ROLLBACK TO")) else text
            for text in statements
        ]

    @pytest.mark.parametrize("path", [FORGOT, RESEND])
    async def test_forgot_and_resend(
        self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts, path: str
    ) -> None:
        known = (await accounts.register(new_address())).email
        seen = [
            await self.statements(app, partial(client.post, path, json={"email": email}))
            for email in (known, new_address())
        ]
        assert [text.split()[:3] for text in seen[0]] == [text.split()[:3] for text in seen[1]]
        assert len(seen[0]) > 5

    async def test_verify_first(self, make_app: MakeApp) -> None:
        async with make_app(registration={"mode": "verify_first"}) as app, http_client(app) as client:
            email = new_address()
            body = {"email": email, "password": PASSWORD, "full_name": "Ada"}
            seen = [
                await self.statements(app, partial(client.post, REGISTER, json=body))
                for _ in ("new", "known")
            ]
        assert Counter(text.split()[0] for text in seen[0]) == Counter(text.split()[0] for text in seen[1])
