"""Confirming and disowning accounts, and the modes of registration, over HTTP on both databases."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
import time_machine
from fastapi import FastAPI
from sqlalchemy import update

from authapi import clock
from authapi.enums import MailKind, OneTimeTokenPurpose
from authapi.models import User
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import link_mails, mail_links, one_time_tokens
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.mails import Mails, new_address

REGISTER = "/api/auth/register"
VERIFY = "/api/auth/email/verify"
RESEND = "/api/auth/email/verify/resend"
LOGIN = "/api/auth/login"
FORGOT = "/api/auth/password/forgot"
PAGE = mail_links.VERIFY_EMAIL
VERIFY_FIRST = {"mode": "verify_first"}


@pytest.fixture
def mails(app: FastAPI) -> Mails:
    return Mails(app)


def body_of(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    if body.get("error"):
        body["error"].pop("request_id")
    return body


def shape(response: httpx.Response) -> tuple[int, dict[str, Any], dict[str, str]]:
    """All that a client could compare, without the id of the request and the time of its limit."""
    own = {"x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset"}
    return (
        response.status_code,
        body_of(response),
        {k: v for k, v in response.headers.items() if k not in own},
    )


async def register(client: httpx.AsyncClient, email: str, **headers: str) -> httpx.Response:
    body = {"email": email, "password": PASSWORD, "full_name": "Ada Lovelace"}
    return await client.post(REGISTER, json=body, headers=headers)


async def log_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post(LOGIN, json={"email": email, "password": password})


async def is_verified(client: httpx.AsyncClient, account: Account) -> bool:
    profile = await client.get("/api/profile", headers=account.headers)
    verified: bool = profile.json()["data"]["email_verified"]
    return verified


async def find(runtime: Runtime, email: str) -> User | None:
    async with runtime.database.reading() as db:
        return await users.find_by_email(db, email_canonical=email)


class TestVerify:
    async def test_the_link_of_the_mail_verifies_once(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        assert not await is_verified(client, account)
        token = await mails.token(account.email, PAGE)
        assert (await client.post(VERIFY, json={"token": token})).status_code == 200
        # Nobody is logged out by it.
        assert await is_verified(client, account)
        again = await client.post(VERIFY, json={"token": token})
        assert (again.status_code, again.json()["error"]["code"]) == (400, "invalid_one_time_token")

    async def test_of_fifty_at_once_one_wins(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        token = await mails.token(account.email, PAGE)
        responses = await asyncio.gather(*(client.post(VERIFY, json={"token": token}) for _ in range(50)))
        statuses = Counter(response.status_code for response in responses)
        assert statuses[200] == 1
        # 503: so many at once may not all get a connection in time.
        assert statuses.keys() <= {200, 400, 503}

    async def test_whatever_is_wrong_with_a_token_is_told_alike(
        self, app: FastAPI, runtime: Runtime, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account, other = await accounts.register(new_address()), await accounts.register(new_address())
        replaced = await mails.token(account.email, PAGE)
        await client.post(RESEND, json={"email": account.email})
        newest = await mails.token(account.email, PAGE, count=2)
        await client.post(FORGOT, json={"email": account.email})
        other_purpose = await mails.token(account.email, mail_links.RESET_PASSWORD)
        used = await mails.token(other.email, PAGE)
        await client.post(VERIFY, json={"token": used})
        refused = [
            await client.post(VERIFY, json={"token": token})
            for token in ("authapi_ott_unknown", "💥", replaced, other_purpose, used)
        ]
        with time_machine.travel(clock.utc_now().timestamp() + 24 * 3600 + 1, tick=True):
            refused.append(await client.post(VERIFY, json={"token": newest}))
        assert {response.status_code for response in refused} == {400}
        assert all(body_of(response) == body_of(refused[0]) for response in refused)
        assert (await client.post(VERIFY, json={"token": newest})).status_code == 200

    async def test_a_token_of_an_earlier_address_is_refused(
        self, runtime: Runtime, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        token = await mails.token(account.email, PAGE)
        new = new_address()
        async with runtime.database.unit_of_work() as db:
            await db.execute(update(User).where(User.id == account.id).values(email=new, email_canonical=new))
        assert (await client.post(VERIFY, json={"token": token})).status_code == 400
        assert not await is_verified(client, account)


class TestResend:
    async def test_answers_alike_and_mails_only_who_waits(
        self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        waiting, verified = await accounts.register(new_address()), await accounts.register(new_address())
        disabled, admin = await accounts.register(new_address()), await accounts.admin(new_address())
        await client.post(VERIFY, json={"token": await mails.token(verified.email, PAGE)})
        await client.post(f"/api/admin/users/{disabled.id}/disable", headers=admin.headers)
        nobody = new_address()
        answers = [
            await client.post(RESEND, json={"email": email})
            for email in (waiting.email, verified.email, disabled.email, nobody)
        ]
        assert answers[0].status_code == 202
        assert all(shape(answer) == shape(answers[0]) for answer in answers)
        assert await mails.written_to(waiting.email) == [MailKind.VERIFY_EMAIL] * 2
        assert await mails.written_to(nobody) == []
        for account in (verified, disabled):
            assert await mails.written_to(account.email) == [MailKind.VERIFY_EMAIL]

    async def test_the_cap_does_not_show_and_the_last_mail_still_works(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        answers = [await client.post(RESEND, json={"email": account.email}) for _ in range(8)]
        assert all(shape(answer) == shape(answers[0]) for answer in answers)
        assert len(await mails.written_to(account.email)) == 5
        token = await mails.token(account.email, PAGE, count=5)
        assert (await client.post(VERIFY, json={"token": token})).status_code == 200

    async def test_what_is_no_address(self, client: httpx.AsyncClient) -> None:
        response = await client.post(RESEND, json={"email": "not an address"})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_email")


class TestUnverifiedLogin:
    async def test_is_refused_only_after_the_right_password(
        self, make_app: MakeApp, shared_app: FastAPI
    ) -> None:
        email = new_address()
        async with make_app(registration={"unverified_login": False}) as app, http_client(app) as client:
            mails = Mails(app, shared_app)
            registered = await register(client, email)
            assert (registered.status_code, registered.json()["data"]) == (202, None)
            assert (await register(client, email)).status_code == 409
            assert (await log_in(client, email, "wrong")).json()["error"]["code"] == "invalid_credentials"
            right = await log_in(client, email)
            assert (right.status_code, right.json()["error"]["code"]) == (403, "email_not_verified")
            form = {"grant_type": "password", "username": email, "password": PASSWORD}
            grant = await client.post("/api/auth/token", data=form)
            assert (grant.status_code, grant.json()["error"]) == (400, "invalid_grant")
            basic = await client.post("/login", auth=(email, PASSWORD))
            assert (basic.status_code, basic.headers["content-type"]) == (403, "text/plain; charset=utf-8")
            assert (await client.post("/login", auth=(email, "wrong"))).status_code == 401
            await client.post(VERIFY, json={"token": await mails.token(email, PAGE)})
            assert (await log_in(client, email)).status_code == 200


class TestVerifyFirst:
    async def test_new_and_known_addresses_are_answered_alike(
        self, make_app: MakeApp, shared_app: FastAPI
    ) -> None:
        new, known = new_address(), new_address()
        async with make_app(registration=VERIFY_FIRST) as app, http_client(app) as client:
            mails = Mails(app, shared_app)
            await register(client, known)
            hashes = app.state.runtime.hasher.pool.hashes_total
            answers = [await register(client, new), await register(client, known)]
            assert app.state.runtime.hasher.pool.hashes_total - hashes == 2
            assert answers[0].status_code == 202
            assert answers[0].json()["data"] is None
            assert shape(answers[0]) == shape(answers[1])
            assert await mails.written_to(new) == [MailKind.VERIFY_EMAIL]
            assert await mails.written_to(known) == [MailKind.VERIFY_EMAIL, MailKind.ALREADY_REGISTERED]
            # Whoever registers an address must not learn by a login with his password that it was free.
            taken = await log_in(client, known, "correct Horse 9 battery")
            assert shape(await log_in(client, new)) == shape(taken)
            assert taken.json()["error"]["code"] == "invalid_credentials"
            await client.post(VERIFY, json={"token": await mails.token(new, PAGE)})
            assert (await log_in(client, new)).status_code == 200

    async def test_fifty_at_once_make_one_account(self, make_app: MakeApp, shared_app: FastAPI) -> None:
        email = new_address()
        async with make_app(registration=VERIFY_FIRST) as app, http_client(app) as client:
            responses = await asyncio.gather(*(register(client, email) for _ in range(50)))
            assert {response.status_code for response in responses} <= {202, 503}
            written = Counter(await Mails(app).written_to(email))
            # One account, and no more mails than the cap allows.
            assert written == {MailKind.VERIFY_EMAIL: 1, MailKind.ALREADY_REGISTERED: 5}

    async def test_a_weak_password_is_told_for_known_addresses_too(self, make_app: MakeApp) -> None:
        email = new_address()
        async with make_app(registration=VERIFY_FIRST) as app, http_client(app) as client:
            await register(client, email)
            weak = [
                await client.post(REGISTER, json={"email": e, "password": "short", "full_name": "Ada"})
                for e in (email, new_address())
            ]
            assert shape(weak[0]) == shape(weak[1])
            assert weak[0].status_code == 422


class TestLanguage:
    @pytest.mark.parametrize(
        ("accepted", "locale"), [("de-AT,de;q=0.9,en;q=0.5", "de"), ("tlh", "en"), ("en;q=0.1, hi", "hi")]
    )
    async def test_follows_the_browser(
        self,
        runtime: Runtime,
        client: httpx.AsyncClient,
        accepted: str,
        locale: str,
    ) -> None:
        email = new_address()
        await register(client, email, **{"Accept-Language": accepted})
        user = await find(runtime, email)
        assert user is not None
        assert user.locale == locale


class TestLinks:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "evil.example"},
            {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
            {"Forwarded": "host=evil.example"},
            {"X-Original-URL": "https://evil.example/", "X-Host": "evil.example"},
            {"Host": "127.0.0.1:5001@evil.example"},
            {"Origin": "https://evil.example", "Referer": "https://evil.example/"},
        ],
    )
    async def test_lead_to_the_public_url_whatever_the_client_says(
        self, client: httpx.AsyncClient, mails: Mails, headers: dict[str, str]
    ) -> None:
        email = new_address()
        assert (await register(client, email, **headers)).status_code == 201
        await client.post(FORGOT, json={"email": email}, headers=headers)
        await client.post(RESEND, json={"email": email}, headers=headers)
        for mail in await mails.all(email, count=3):
            assert mail.links
            assert all(link.startswith("http://127.0.0.1:5001") for link in mail.links)
            assert "evil" not in mail.text + mail.html


async def test_a_stand_in_leaves_nothing_behind(make_app: MakeApp, shared_app: FastAPI) -> None:
    email = new_address()
    async with make_app(registration=VERIFY_FIRST) as app, http_client(app) as client:
        await register(client, email)
        await register(client, email)
        async with app.state.runtime.database.reading() as db:
            total = await users.count_exactly(db)
    assert total == 1


async def test_a_token_that_nobody_got_replaces_none(runtime: Runtime, accounts: Accounts) -> None:
    account = await accounts.register(new_address())
    user = await find(runtime, account.email)
    assert user is not None
    address = link_mails.parse_address(account.email)
    purpose = OneTimeTokenPurpose.RESET_PASSWORD
    async with runtime.database.unit_of_work() as db:
        token = await one_time_tokens.issue(db, runtime, purpose=purpose, user_id=user.id)
        for _ in range(6):
            await link_mails.offer(
                db, runtime, purpose=OneTimeTokenPurpose.VERIFY_EMAIL, user=None, address=address
            )
        assert await one_time_tokens.find(db, purpose=purpose, token=token)
