"""Logging: a day in the life of a service, its lines read one by one."""

import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from authapi.logs import configure_logging
from authapi.models import AuditEvent
from authapi.runtime import Runtime
from tests.support.accounts import PASSWORD, Accounts

pytestmark = pytest.mark.one_database

# Words that only a client knows: none may be in a line, whatever happens to the request.
CANARY = "Canary 7 sings loud"
HOSTILE = 'x\r\n{"event": "forged"}\x1b[2J'


@pytest.fixture
async def lines(client: httpx.AsyncClient, accounts: Accounts) -> AsyncIterator[tuple[str, set[str]]]:
    """What was logged while people came, failed, changed and left; and the secrets that were about."""
    stream = io.StringIO()
    configure_logging(format="json", level="debug", stream=stream)
    try:
        secrets = await a_day(client, accounts)
        yield stream.getvalue(), secrets
    finally:
        configure_logging(format="json", level="info")


async def a_day(client: httpx.AsyncClient, accounts: Accounts) -> set[str]:
    account = await accounts.register("ada@example.com")
    refresh_token = account.data["refresh_token"]
    wrong = {"email": account.email, "password": CANARY}
    await client.post("/api/auth/login", json=wrong)
    await client.post("/api/auth/login", json={**wrong, "password": [CANARY]})
    await client.post(
        "/api/auth/login", content=f'{{"password": "{CANARY}"', headers={"Content-Type": "application/json"}
    )
    await client.post("/login", auth=(account.email, CANARY))
    await client.post(
        "/api/auth/token", data={"grant_type": "password", "username": account.email, "password": CANARY}
    )
    await client.get(
        "/api/auth/me", headers={"Authorization": f"Bearer {account.access_token}x", "User-Agent": "x\ty"}
    )
    await client.get("/nowhere", params={"token": refresh_token, "q": HOSTILE})
    await client.post("/api/auth/password/forgot", json={"email": HOSTILE})
    pair = await client.post("/api/auth/refresh", json={"refresh_token": refresh_token})
    await client.post(
        "/api/auth/password/change",
        json={"current_password": PASSWORD, "new_password": CANARY},
        headers=account.headers,
    )
    await client.post("/api/auth/logout", headers=account.headers)
    data = pair.json()["data"]
    return {
        CANARY,
        PASSWORD,
        refresh_token,
        account.access_token,
        data["refresh_token"],
        data["access_token"],
    }


async def test_asvs_16_2_1(lines: tuple[str, set[str]]) -> None:
    """Each line says when, what, how grave, by whom it was written, and inside of a request from where."""
    entries = parsed(lines[0])
    assert len(entries) > 12
    assert all({"timestamp", "level", "event", "logger"} <= entry.keys() for entry in entries)
    requests = [entry for entry in entries if entry["event"] == "http.request"]
    assert len(requests) >= 12
    assert all(entry["ip"] == "203.0.113.7" and entry["request_id"] for entry in requests)


async def test_asvs_16_2_2(lines: tuple[str, set[str]]) -> None:
    instants = [datetime.fromisoformat(entry["timestamp"]) for entry in parsed(lines[0])]
    assert all(instant.utcoffset() == timedelta(0) for instant in instants)


async def test_asvs_16_2_4(lines: tuple[str, set[str]]) -> None:
    """Every line is one JSON object, whatever a client put into it (also 16.4.1)."""
    assert "forged" not in {entry["event"] for entry in parsed(lines[0])}
    assert "\x1b" not in lines[0]


async def test_asvs_16_2_5(lines: tuple[str, set[str]]) -> None:
    """No password and no token is in a line, not even in part, at the most talkative level."""
    text, secrets = lines
    for secret in secrets:
        assert secret not in text
        assert secret[-20:] not in text


async def test_asvs_16_3_1(client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime) -> None:
    """Whichever way somebody logs in, success and failure are one event each."""
    account = await accounts.register()
    form = {"grant_type": "password", "username": account.email}
    for password in (account.password, CANARY):
        await client.post("/api/auth/login", json={"email": account.email, "password": password})
        await client.post("/login", auth=(account.email, password))
        await client.post("/api/auth/token", data={**form, "password": password})
    async with runtime.database.unit_of_work() as db:
        actions = Counter((await db.scalars(select(AuditEvent.action))).all())
    assert actions["user.login.succeeded"] == 3
    assert actions["user.login.failed"] == 3


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
