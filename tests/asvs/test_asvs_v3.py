"""What a browser is told, on every answer of every route."""

import json

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from authapi.models import Base
from authapi.runtime import Runtime
from tests.asvs.conftest import APP_ORIGIN, Answer, routes
from tests.conftest import http_client
from tests.support.accounts import Accounts

pytestmark = pytest.mark.one_database

FOREIGN_ORIGINS = ("null", "https://evil.example", f"{APP_ORIGIN}.evil.example", "http://app.example.org")
# A token in a query may be looked up, an administrator's reading is on record; nothing else may be written.
WRITTEN_BY_READERS = {"audit_events", "audit_anchors"}


def lacking(answers: list[Answer], header: str, *parts: str) -> list[str]:
    """The answers whose header lacks one of the parts, or all of it."""
    return [
        f"{answer.request}: {answer.headers.get(header)}"
        for answer in answers
        if any(part not in answer.headers.get(header, "") for part in parts)
    ]


def test_asvs_3_2_1(answers: list[Answer]) -> None:
    """JSON that a browser is made to open has no origin and may do nothing."""
    json_answers = [a for a in answers if "json" in a.headers.get("content-type", "")]
    assert len(json_answers) > 50
    assert not lacking(json_answers, "content-security-policy", "default-src 'none'", "sandbox")
    assert not lacking(json_answers, "x-content-type-options", "nosniff")


def test_asvs_3_4_1(answers: list[Answer]) -> None:
    """HTTPS is promised for two years, subdomains included."""
    assert not lacking(answers, "strict-transport-security", "max-age=63072000", "includeSubDomains")


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
async def test_asvs_3_4_2(origin: str, app: FastAPI) -> None:
    """An origin that is not on the list is never named, neither in an answer nor before the request."""
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    async with http_client(app) as client:
        for response in (
            await client.get("/api/auth/me", headers={"Origin": origin}),
            await client.post("/api/auth/login", json={}, headers={"Origin": origin}),
            await client.options("/api/auth/login", headers=preflight),
        ):
            assert "access-control-allow-origin" not in response.headers


def test_asvs_3_4_3(answers: list[Answer]) -> None:
    """Every policy starts from nothing, so no plug-ins, and fixes the base address."""
    assert not lacking(answers, "content-security-policy", "default-src 'none'", "base-uri 'none'")
    assert not [a.request for a in answers if "unsafe-" in a.headers["content-security-policy"]]


def test_asvs_3_4_4(answers: list[Answer]) -> None:
    assert not lacking(answers, "x-content-type-options", "nosniff")


def test_asvs_3_4_5(answers: list[Answer]) -> None:
    assert not lacking(answers, "referrer-policy", "no-referrer")


def test_asvs_3_4_6(answers: list[Answer]) -> None:
    """Nothing of ours is framed; the mailbox of developers frames its own mails."""
    assert not lacking(
        [a for a in answers if "/dev/mail/" not in a.path], "content-security-policy", "ancestors 'none'"
    )
    assert not lacking(answers, "content-security-policy", "frame-ancestors")


async def test_asvs_3_5_2(app: FastAPI, client: httpx.AsyncClient, accounts: Accounts) -> None:
    """What a foreign page can send without asking first is not taken for JSON."""
    account = await accounts.register()
    bodies = json.dumps({"email": account.email, "password": account.password, "full_name": "x"}).encode()
    forms = {"/login", "/validate"}
    for method, path in sorted(set(routes(app))):
        if method not in {"POST", "PUT", "PATCH"} or not path.startswith("/api/") or path in forms:
            continue
        for kind in ("text/plain", "multipart/form-data; boundary=x", None):
            headers = {"Content-Type": kind} if kind else {}
            response = await client.request(method, path, content=bodies, headers=headers)
            assert response.status_code in {400, 401, 403, 415, 422}, (
                f"{method} {path} {kind}: {response.text}"
            )


async def test_asvs_3_5_3(
    app: FastAPI, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
) -> None:
    """Reading changes nothing: every GET twice, as an administrator, and the rows are the same."""
    admin = await accounts.admin()
    before = await rows(runtime)
    for method, path in sorted(set(routes(app))):
        if method in {"GET", "HEAD"}:
            for _ in range(2):
                await client.request(method, path, headers=admin.headers)
    after = await rows(runtime)
    assert not [name for name in before if before[name] != after[name]]


async def rows(runtime: Runtime) -> dict[str, list[str]]:
    """Every row of every table that a reader must leave alone."""
    found = {}
    async with runtime.database.unit_of_work() as db:
        for table in Base.metadata.sorted_tables:
            if table.name not in WRITTEN_BY_READERS:
                # The delivery that goes on meanwhile changes the state of mails; none may be added.
                columns = [table.c.id] if table.name == "mail_messages" else [table]
                found[table.name] = sorted(map(repr, (await db.execute(select(*columns))).all()))
        assert (await db.scalar(select(func.count()).select_from(Base.metadata.tables["users"]))) == 1
    return found


def test_asvs_3_5_8(answers: list[Answer]) -> None:
    assert not lacking(answers, "cross-origin-resource-policy", "same-origin")


async def test_asvs_3_7_2(https_app: FastAPI) -> None:
    """A redirect leads to a path of ours, whatever the request says about host or next page."""
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    query = {"next": "https://evil.example", "redirect_to": "//evil.example", "RelayState": "//evil.example"}
    seen = set()
    async with http_client(https_app) as client:
        for method, path in sorted(set(routes(https_app))):
            if method == "GET":
                for spelling in (path, f"{path}/", f"/{path}"):
                    response = await client.get(spelling, params=query, headers=headers)
                    if location := response.headers.get("location"):
                        seen.add(location)
    assert seen == {"/forgot-password"}
