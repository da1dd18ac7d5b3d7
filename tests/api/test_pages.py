"""The pages that mails lead to, over HTTP: what they show, refuse and never tell."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from jinja2.ext import babel_extract

from authapi.api.page_route import PAGES_CSP
from authapi.api.pages import FORGOT_PASSWORD, RESEND_VERIFICATION
from authapi.enums import Locale, OneTimeTokenPurpose
from authapi.pages import problems
from authapi.runtime import Runtime
from authapi.security import password_policy
from authapi.security.password_policy import PasswordRejected
from authapi.services import mail_links, one_time_tokens
from authapi.services.new_passwords import BREACHED
from authapi.templates import load_catalogue
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.log_lines import captured_access_lines
from tests.support.mails import Mails, new_address, token_of

pytestmark = pytest.mark.one_database

TEMPLATES = Path(problems.__file__).parent / "templates"
TOKEN_PAGES = [
    mail_links.VERIFY_EMAIL,
    mail_links.DISOWN_ACCOUNT,
    mail_links.RESET_PASSWORD,
    mail_links.CONFIRM_EMAIL_CHANGE,
    mail_links.UNDO_EMAIL_CHANGE,
    mail_links.ACCEPT_INVITATION,
]
NEW_PASSWORD = "another Horse 8 staple"


@pytest.fixture
def mails(app: FastAPI) -> Mails:
    return Mails(app)


def path_of(link: str) -> str:
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


def assert_is_page(response: httpx.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == PAGES_CSP
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert "<script" not in response.text
    assert " style=" not in response.text
    assert not re.findall(r'(?:src|href|action)="(?!/)', response.text)


class TestVerifyEmail:
    async def test_opening_changes_nothing_and_the_button_does(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        link = await mails.link(account.email, mail_links.VERIFY_EMAIL)
        for _ in range(3):
            page = await client.get(path_of(link))
            assert_is_page(page, 200)
        assert account.email in page.text
        done = await client.post(mail_links.VERIFY_EMAIL, data={"token": token_of(link)})
        assert_is_page(done, 200)
        profile = await client.get("/api/profile", headers=account.headers)
        assert profile.json()["data"]["email_verified"] is True
        assert_is_page(await client.get(path_of(link)), 400)

    async def test_what_a_stranger_chose_is_text(self, client: httpx.AsyncClient, mails: Mails) -> None:
        email = new_address()
        body = {"email": email, "password": PASSWORD, "full_name": "<b>Ada</b>{{7*7}}"}
        headers = {"User-Agent": "<img src=x onerror=alert(1)>{{7*7}}"}
        assert (await client.post("/api/auth/register", json=body, headers=headers)).status_code == 201
        page = await client.get(path_of(await mails.link(email, mail_links.VERIFY_EMAIL)))
        assert_is_page(page, 200)
        assert "&lt;img src=x onerror=alert(1)&gt;{{7*7}}" in page.text


class TestResetPassword:
    async def test_refusals_are_told_on_the_form(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        await client.post("/api/auth/password/forgot", json={"email": account.email})
        link = await mails.link(account.email, mail_links.RESET_PASSWORD)
        page = await client.get(path_of(link), headers={"Accept-Language": "de"})
        assert_is_page(page, 200)
        assert 'lang="de"' in page.text
        assert 'autocomplete="new-password"' in page.text
        form = {"token": token_of(link), "new_password": "zu kurz"}
        refused = await client.post(mail_links.RESET_PASSWORD, data=form, headers={"Accept-Language": "de"})
        assert_is_page(refused, 422)
        assert "Verwenden Sie mindestens 8 Zeichen." in refused.text
        assert token_of(link) in refused.text
        assert "zu kurz" not in refused.text
        done = await client.post(mail_links.RESET_PASSWORD, data={**form, "new_password": NEW_PASSWORD})
        assert_is_page(done, 200)
        # This browser is known from now on, and nobody is logged in.
        (cookie,) = done.headers.get_list("set-cookie")
        assert cookie.startswith("authapi_device=")
        login = {"email": account.email, "password": NEW_PASSWORD}
        assert (await client.post("/api/auth/login", json=login)).status_code == 200

    async def test_a_dead_link_offers_another(self, client: httpx.AsyncClient) -> None:
        page = await client.get(mail_links.RESET_PASSWORD, params={"token": "authapi_ott_gone"})
        assert_is_page(page, 400)
        assert f'href="{FORGOT_PASSWORD}"' in page.text


class TestResendVerification:
    async def test_a_dead_link_offers_a_new_mail(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        first = await mails.link(account.email, mail_links.VERIFY_EMAIL)
        dead = await client.get(mail_links.VERIFY_EMAIL, params={"token": "authapi_ott_gone"})
        assert_is_page(dead, 400)
        assert f'<form method="post" action="{RESEND_VERIFICATION}">' in dead.text
        assert 'type="email" name="email"' in dead.text
        sent = await client.post(RESEND_VERIFICATION, data={"email": account.email})
        assert_is_page(sent, 200)
        second = await mails.link(account.email, mail_links.VERIFY_EMAIL, count=2)
        assert_is_page(await client.post(mail_links.VERIFY_EMAIL, data={"token": token_of(first)}), 400)
        assert_is_page(await client.post(mail_links.VERIFY_EMAIL, data={"token": token_of(second)}), 200)
        # So does the answer to the button of a link that has been used meanwhile.
        used = await client.post(mail_links.VERIFY_EMAIL, data={"token": token_of(second)})
        assert_is_page(used, 400)
        assert f'action="{RESEND_VERIFICATION}"' in used.text

    @pytest.mark.parametrize("page", [*TOKEN_PAGES[1:], "forged"])
    async def test_no_other_page_offers_it(self, client: httpx.AsyncClient, page: str) -> None:
        if page == "forged":
            headers = {"Origin": "https://evil.example"}
            answer = await client.post(mail_links.VERIFY_EMAIL, data={"token": "x"}, headers=headers)
        else:
            answer = await client.get(page, params={"token": "authapi_ott_gone"})
        assert RESEND_VERIFICATION not in answer.text

    async def test_says_the_same_for_everybody(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        waiting = await accounts.register(new_address())
        confirmed = await accounts.register(new_address())
        link = await mails.link(confirmed.email, mail_links.VERIFY_EMAIL)
        await client.post(mail_links.VERIFY_EMAIL, data={"token": token_of(link)})
        answers = [
            await client.post(RESEND_VERIFICATION, data={"email": email})
            for email in (waiting.email, confirmed.email, new_address())
        ]
        for answer in answers:
            assert_is_page(answer, 200)
            assert answer.text == answers[0].text
        assert await mails.written_to(waiting.email) == ["verify_email"] * 2
        assert await mails.written_to(confirmed.email) == ["verify_email"]

    @pytest.mark.parametrize("locale", list(Locale))
    async def test_in_every_language(self, client: httpx.AsyncClient, locale: Locale) -> None:
        headers = {"Accept-Language": locale.value}
        page = await client.get(RESEND_VERIFICATION, headers=headers)
        assert_is_page(page, 200)
        assert f'lang="{locale.value}"' in page.text
        english = await client.get(RESEND_VERIFICATION, headers={"Accept-Language": "en"})
        assert (page.text == english.text) is (locale is Locale.EN)

    async def test_what_is_no_address(self, client: httpx.AsyncClient) -> None:
        page = await client.post(RESEND_VERIFICATION, data={"email": "nonsense"})
        assert_is_page(page, 422)
        assert 'name="email"' in page.text

    async def test_is_limited_as_the_api_is(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"auth": "2/minute"}) as app, http_client(app) as client:
            pages = [await client.post(RESEND_VERIFICATION, data={"email": new_address()}) for _ in range(3)]
        assert [page.status_code for page in pages] == [200, 200, 429]
        assert_is_page(pages[-1], 429)


class TestForgotPassword:
    async def test_says_the_same_for_everybody(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        assert_is_page(await client.get(FORGOT_PASSWORD), 200)
        pages = [
            await client.post(FORGOT_PASSWORD, data={"email": email})
            for email in (account.email, new_address())
        ]
        assert_is_page(pages[0], 200)
        assert pages[0].text == pages[1].text
        assert await mails.link(account.email, mail_links.RESET_PASSWORD)

    async def test_what_is_no_address(self, client: httpx.AsyncClient) -> None:
        page = await client.post(FORGOT_PASSWORD, data={"email": "nonsense"})
        assert_is_page(page, 422)
        assert 'name="email"' in page.text

    @pytest.mark.parametrize("host", ["127.0.0.1:5001", "evil.example"])
    async def test_password_managers_find_it(self, client: httpx.AsyncClient, host: str) -> None:
        response = await client.get("/.well-known/change-password", headers={"Host": host})
        assert (response.status_code, response.headers["location"]) == (303, FORGOT_PASSWORD)


class TestEmailChangeAndInvitation:
    async def test_confirm_then_undo(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account, new_email = await accounts.register(new_address()), new_address()
        body = {"new_email": new_email, "password": PASSWORD}
        asked = await client.post("/api/auth/email/change", json=body, headers=account.headers)
        assert asked.status_code == 202, asked.text
        for email, page in (
            (new_email, mail_links.CONFIRM_EMAIL_CHANGE),
            (account.email, mail_links.UNDO_EMAIL_CHANGE),
        ):
            link = await mails.link(email, page)
            opened = await client.get(path_of(link))
            assert_is_page(opened, 200)
            assert email in opened.text
            # Whose account it is: somebody may offer his own to the owner of an address.
            assert account.email in opened.text
            assert_is_page(await client.post(page, data={"token": token_of(link)}), 200)
            assert_is_page(await client.post(page, data={"token": token_of(link)}), 400)
        assert await mails.link(account.email, mail_links.RESET_PASSWORD)

    async def test_accept_invitation(
        self, runtime: Runtime, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        email, inviter = new_address(), await accounts.admin()
        data = {
            "email": email,
            "email_canonical": email,
            "roles": ["user"],
            "locale": "fr",
            "inviter_id": str(inviter.id),
        }
        async with runtime.database.unit_of_work() as db:
            token = await one_time_tokens.issue(
                db, runtime, purpose=OneTimeTokenPurpose.ACCEPT_INVITATION, user_id=None, data=data
            )
        page = await client.get(mail_links.ACCEPT_INVITATION, params={"token": token})
        assert_is_page(page, 200)
        assert 'lang="fr"' in page.text
        form = {"token": token, "full_name": 'Ada "the first"', "password": "weak"}
        refused = await client.post(mail_links.ACCEPT_INVITATION, data=form)
        assert_is_page(refused, 422)
        assert "Ada &#34;the first&#34;" in refused.text
        done = await client.post(mail_links.ACCEPT_INVITATION, data={**form, "password": NEW_PASSWORD})
        assert_is_page(done, 200)
        login = await client.post("/api/auth/login", json={"email": email, "password": NEW_PASSWORD})
        headers = {"Authorization": f"Bearer {login.json()['data']['access_token']}"}
        # The page's own session is over: its tokens reached nobody.
        sessions = await client.get("/api/auth/sessions", headers=headers)
        assert [session["current"] for session in sessions.json()["data"]] == [True]


class TestRefusals:
    @pytest.mark.parametrize("page", TOKEN_PAGES)
    async def test_links_that_do_not_work_look_alike(self, client: httpx.AsyncClient, page: str) -> None:
        answers = [
            await client.get(page),
            await client.get(page, params={"token": "authapi_ott_unknown"}),
            await client.get(page, params={"token": "<script>alert(1)</script>"}),
        ]
        for answer in answers:
            assert_is_page(answer, 400)
            assert answer.text == answers[0].text

    @pytest.mark.parametrize("page", [*TOKEN_PAGES, FORGOT_PASSWORD, RESEND_VERIFICATION])
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "same-site", "Origin": "null"},
            {"Origin": "https://evil.example"},
            {"Origin": "http://127.0.0.1:5001.evil.example"},
        ],
    )
    async def test_forms_of_other_sites(
        self, client: httpx.AsyncClient, page: str, headers: dict[str, str]
    ) -> None:
        form = {
            "token": "x",
            "email": "ada@example.com",
            "new_password": "x",
            "full_name": "x",
            "password": "x",
        }
        names = {"token"} if page in TOKEN_PAGES else {"email"}
        names |= {"new_password"} if page == mail_links.RESET_PASSWORD else set()
        names |= {"full_name", "password"} if page == mail_links.ACCEPT_INVITATION else set()
        response = await client.post(page, data={name: form[name] for name in names}, headers=headers)
        assert_is_page(response, 403)

    async def test_our_own_form_is_let_in(self, client: httpx.AsyncClient) -> None:
        for headers in (
            {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:5001"},
        ):
            response = await client.post(FORGOT_PASSWORD, data={"email": new_address()}, headers=headers)
            assert_is_page(response, 200)

    async def test_a_form_without_its_fields(self, client: httpx.AsyncClient) -> None:
        assert_is_page(await client.post(mail_links.VERIFY_EMAIL, data={}), 422)
        assert_is_page(await client.post(mail_links.VERIFY_EMAIL, json={"token": "x"}), 400)
        assert_is_page(await client.post(mail_links.VERIFY_EMAIL, data={"token": "x", "more": "y"}), 422)

    async def test_too_many(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"auth": "2/minute"}) as app, http_client(app) as client:
            pages = [await client.post(FORGOT_PASSWORD, data={"email": new_address()}) for _ in range(3)]
        assert_is_page(pages[-1], 429)
        assert 1 <= int(pages[-1].headers["retry-after"]) <= 60


class TestReturnAddress:
    async def test_comes_from_the_settings_alone(self, make_app: MakeApp) -> None:
        address = "https://app.example.com/login?from=mail&x=1"
        async with make_app(pages={"return_url": address}) as app, http_client(app) as client:
            query = {"return_url": "https://evil.example", "next": "https://evil.example"}
            page = await client.get(FORGOT_PASSWORD, params=query, headers={"Host": "evil.example"})
        assert 'href="https://app.example.com/login?from=mail&amp;x=1"' in page.text
        assert "evil" not in page.text


class TestSecrecy:
    async def test_no_token_reaches_a_log(
        self,
        client: httpx.AsyncClient,
        accounts: Accounts,
        mails: Mails,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        account: Account = await accounts.register(new_address())
        caplog.set_level("DEBUG", logger="authapi")
        with captured_access_lines() as access_lines:
            await client.post("/api/auth/password/forgot", json={"email": account.email})
            links = {
                mail_links.VERIFY_EMAIL: await mails.link(account.email, mail_links.VERIFY_EMAIL),
                mail_links.RESET_PASSWORD: await mails.link(account.email, mail_links.RESET_PASSWORD),
            }
            for page, link in links.items():
                form = {"token": token_of(link)}
                extra = {"new_password": NEW_PASSWORD} if page == mail_links.RESET_PASSWORD else {}
                await client.get(path_of(link))
                await client.post(page, data={**form, "new_password": "weak"})
                await client.post(page, data={**form, **extra})
                await client.post(page, data={**form, **extra})
                await client.get(path_of(link))
                api = {
                    mail_links.VERIFY_EMAIL: "/api/auth/email/verify",
                    mail_links.RESET_PASSWORD: "/api/auth/password/reset",
                }
                await client.post(api[page], json={**form, **extra})
        said = "\n".join(
            [f"{record.getMessage()} {record.__dict__}" for record in caplog.records] + access_lines
        )
        assert '"route": "/reset-password"' in said
        for link in links.values():
            assert token_of(link) not in said
        assert NEW_PASSWORD not in said


class TestCatalogues:
    @staticmethod
    def texts() -> set[str]:
        """Every text that a page may show."""
        found = {text for _, text in problems.TEXTS} | {problems.OTHERWISE, BREACHED}
        for path in TEMPLATES.glob("*.html"):
            with path.open("rb") as file:
                for _, _, message, _ in babel_extract(file, ["_"], [], {}):
                    found.add(str(message[0] if isinstance(message, tuple) else message))
        policies: tuple[password_policy.PasswordPolicy, ...] = ("classic", "nist")
        for policy in policies:
            for password in ("", "aaa", "AAA", "password", "x" * 2000, "\ud800", "ada.lovelace@example.com"):
                try:
                    password_policy.check_password(password, policy=policy, email="ada.lovelace@example.com")
                except PasswordRejected as rejected:
                    found |= {reason.message for reason in rejected.reasons}
        # A call with a variable: the texts of problems, above.
        return found - {"None"}

    @pytest.mark.parametrize("locale", [locale for locale in Locale if locale is not Locale.EN])
    def test_hold_every_text_and_no_other(self, locale: Locale) -> None:
        catalogue = load_catalogue("pages", locale)
        translated = {str(message.id): str(message.string) for message in catalogue if message.id}
        assert translated.keys() == self.texts()
        placeholders: Callable[[str], list[str]] = lambda text: sorted(re.findall(r"%\(\w+\)s", text))  # noqa: E731
        for text, translation in translated.items():
            assert translation
            assert placeholders(text) == placeholders(translation)
