import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from authapi.enums import MailKind
from authapi.mail.mailbox import CAPACITY, Mailbox
from authapi.mail.transport import Envelope
from authapi.main import create_app
from authapi.services import mail_outbox
from tests.conftest import http_client, make_settings

pytestmark = pytest.mark.one_database

LINK = "http://127.0.0.1:5001/accept-invitation?token=authapi_ott_abc"


@pytest.fixture
async def local(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client on the same machine."""
    async with http_client(app, address="127.0.0.1") as client:
        yield client


@pytest.fixture
def mailbox(app: FastAPI) -> Mailbox:
    mailbox: Mailbox = app.state.mailbox
    return mailbox


async def send(app: FastAPI, to: str) -> None:
    """Send a mail as a use case does."""
    runtime = app.state.runtime
    async with runtime.database.unit_of_work() as db:
        assert await mail_outbox.enqueue(
            db,
            runtime,
            kind=MailKind.INVITATION,
            to=to,
            recipient_canonical=to.lower(),
            locale="en",
            user_id=None,
            context={"link": LINK, "lifetime": timedelta(days=7)},
        )


async def arrived(app: FastAPI, client: httpx.AsyncClient, to: str) -> dict[str, object]:
    """Send a mail and wait for it."""
    await send(app, to)
    response = await client.get("/dev/mail/messages", params={"to": to, "wait": 10})
    assert response.status_code == 200, response.text
    mail: dict[str, object] = response.json()["data"][-1]
    return mail


class TestMessages:
    async def test_a_mail_that_was_sent(self, app: FastAPI, local: httpx.AsyncClient) -> None:
        mail = await arrived(app, local, "one@example.com")
        assert mail["recipient"] == "one@example.com"
        assert mail["subject"] == "You are invited"
        assert mail["links"][0] == LINK  # type: ignore[index]
        assert "Accept the invitation" in str(mail["html"])
        assert ["Auto-Submitted", "auto-generated"] in mail["headers"]  # type: ignore[operator]

    async def test_waiting_ends_with_the_mail(self, app: FastAPI, local: httpx.AsyncClient) -> None:
        last = await arrived(app, local, "two@example.com")
        params = {"to": "TWO@example.com", "after": str(last["number"]), "wait": "20"}
        waiting = asyncio.create_task(local.get("/dev/mail/messages", params=params))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        started = time.monotonic()
        await send(app, "somebody-else@example.com")
        await send(app, "two@example.com")
        (mail,) = (await waiting).json()["data"]
        assert mail["number"] > last["number"]
        assert time.monotonic() - started < 10

    async def test_waiting_in_vain(self, local: httpx.AsyncClient) -> None:
        response = await local.get("/dev/mail/messages", params={"to": "nobody@example.com", "wait": 0.1})
        assert response.json()["data"] == []

    @pytest.mark.parametrize("wait", ["31", "-1", "nan", "x"])
    async def test_how_long_one_may_wait(self, local: httpx.AsyncClient, wait: str) -> None:
        assert (await local.get("/dev/mail/messages", params={"wait": wait})).status_code == 422

    async def test_the_oldest_go_first(self) -> None:
        mailbox = Mailbox()
        for number in range(CAPACITY + 5):
            mailbox.put(
                Envelope(id=str(number), sender="", recipient="a@example.com", message=b"Subject: x\r\n\r\n")
            )
        assert len(mailbox.find_all()) == CAPACITY
        assert mailbox.find(5) is None
        assert mailbox.find(6) is not None


class TestPages:
    async def test_list_and_view(self, app: FastAPI, local: httpx.AsyncClient) -> None:
        mail = await arrived(app, local, "<b>three</b>@example.com")
        page = await local.get("/dev/mail")
        assert f'<a href="mail/{mail["number"]}">You are invited</a>' in page.text
        assert "&lt;b&gt;three&lt;/b&gt;@example.com" in page.text
        view = await local.get(f"/dev/mail/{mail['number']}")
        assert f'<a href="{LINK}" rel="noopener">' in view.text
        for response in (page, view):
            assert "script" not in response.text
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy

    async def test_the_html_part_may_do_nothing(self, app: FastAPI, local: httpx.AsyncClient) -> None:
        mail = await arrived(app, local, "four@example.com")
        response = await local.get(f"/dev/mail/{mail['number']}/html")
        assert response.text == mail["html"]
        assert response.headers["content-security-policy"].endswith("; sandbox")
        assert "script-src" not in response.headers["content-security-policy"]

    @pytest.mark.parametrize("path", ["/dev/mail/999999", "/dev/mail/0/html"])
    async def test_a_mail_that_is_not_there(self, local: httpx.AsyncClient, path: str) -> None:
        assert (await local.get(path)).status_code == 404


PATHS = ["/dev/mail", "/dev/mail/messages", "/dev/mail/1", "/dev/mail/1/html"]


class TestOnlyFromHere:
    @pytest.fixture(autouse=True)
    def _one_mail(self, mailbox: Mailbox) -> None:
        mailbox.put(Envelope(id="1", sender="", recipient="a@example.com", message=b"Subject: x\r\n\r\n"))

    @pytest.mark.parametrize("path", PATHS[:2])
    @pytest.mark.parametrize("host", ["127.0.0.1:5001", "localhost", "[::1]:80", "127.8.9.1"])
    async def test_names_of_this_machine(self, local: httpx.AsyncClient, path: str, host: str) -> None:
        assert (await local.get(path, headers={"Host": host})).status_code == 200

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("address", ["203.0.113.7", "10.0.0.1", "::2"])
    async def test_other_hosts_see_nothing(self, app: FastAPI, path: str, address: str) -> None:
        async with http_client(app, address=address) as client:
            assert (await client.get(path)).status_code == 404

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "evil.example"},
            {"Host": "localhost.evil.example"},
            {"Host": "127.0.0.1.evil.example"},
            {"X-Forwarded-For": "203.0.113.7"},
            {"X-Forwarded-For": "127.0.0.1, 203.0.113.7"},
            {"X-Real-IP": "127.0.0.1"},
            {"Forwarded": "for=127.0.0.1"},
        ],
    )
    async def test_neither_do_others_by_way_of_this_machine(
        self, local: httpx.AsyncClient, path: str, headers: dict[str, str]
    ) -> None:
        assert (await local.get(path, headers=headers)).status_code == 404

    @pytest.mark.parametrize("path", PATHS)
    async def test_production_has_no_such_route(self, path: str, tmp_path: Path) -> None:
        settings = make_settings(
            database_url=f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite3'}",
            data_dir=tmp_path,
            environment="production",
            public_url="https://auth.example.com",
        )
        app = create_app(settings)
        assert not hasattr(app.state, "mailbox")
        async with http_client(app, address="127.0.0.1") as client:
            response = await client.get(path)
            assert response.status_code == 404
            nowhere = await client.get("/nowhere")
            assert response.json()["error"]["code"] == nowhere.json()["error"]["code"]
        await app.state.runtime.close()

    def test_it_is_not_in_the_document(self, app: FastAPI) -> None:
        assert not any(path.startswith("/dev") for path in app.openapi()["paths"])
