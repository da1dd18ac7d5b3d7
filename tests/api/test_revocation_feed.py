"""The revocation feed over HTTP, on both databases."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.models import Revocation
from authapi.repositories import revocations
from authapi.runtime import Runtime
from authapi.security import base64url
from authapi.services import revocation, service_clients
from tests.conftest import MakeApp, http_client
from tests.support.accounts import Accounts
from tests.support.signed_tokens import bearer, clients_token, users_token

FEED = "/api/auth/revocations"


class Feed:
    """A client that follows the feed as documented."""

    def __init__(self, client: httpx.AsyncClient, runtime: Runtime) -> None:
        self._client = client
        self._headers = bearer(clients_token(runtime, scope="revocations:read"))

    async def get(self, *, tag: str | None = None, **params: Any) -> httpx.Response:
        headers = self._headers | ({"If-None-Match": tag} if tag else {})
        return await self._client.get(FEED, params=params, headers=headers)

    async def read(self, since: str | None = None, **params: Any) -> tuple[list[dict[str, Any]], str]:
        response = await self.get(**params | ({"since": since} if since else {}))
        assert response.status_code == 200, response.text
        data = response.json()["data"]
        return data["revocations"], data["cursor"]


@pytest.fixture
async def feed(client: httpx.AsyncClient, runtime: Runtime) -> Feed:
    return Feed(client, runtime)


async def revoke(db: AsyncSession, session_id: UUID, *, expires_in: timedelta = timedelta(hours=1)) -> None:
    now = clock.utc_now()
    await revocations.add_sessions(db, [session_id], expires_at=now + expires_in, created_at=now)


async def revoke_now(runtime: Runtime, **options: Any) -> UUID:
    session_id = uuid4()
    async with runtime.database.unit_of_work() as db:
        await revoke(db, session_id, **options)
    return session_id


def session_ids(entries: list[dict[str, Any]]) -> list[UUID]:
    return [UUID(entry["session_id"]) for entry in entries]


class TestEntries:
    async def test_a_logout_is_an_entry(
        self, client: httpx.AsyncClient, accounts: Accounts, feed: Feed
    ) -> None:
        account = await accounts.register()
        assert (await feed.read())[0] == []
        me = (await client.get("/api/auth/me", headers=account.headers)).json()["data"]
        await client.post("/api/auth/logout", headers=account.headers)
        [entry] = (await feed.read())[0]
        assert entry.keys() == {"session_id", "expires_at"}
        assert entry["session_id"] == me["session_id"]
        left = datetime.fromisoformat(entry["expires_at"]) - clock.utc_now()
        assert timedelta(hours=1) < left <= timedelta(hours=1, minutes=5)

    async def test_a_voided_subject_is_an_entry(self, runtime: Runtime, feed: Feed) -> None:
        now = clock.utc_now()
        async with runtime.database.unit_of_work() as db:
            await revocation.void_subject(db, runtime, subject="client-9", not_before=now)
        [entry] = (await feed.read())[0]
        assert entry.keys() == {"subject", "not_before", "expires_at"}
        assert entry["subject"] == "client-9"
        assert datetime.fromisoformat(entry["not_before"]) == now

    async def test_what_does_not_matter_any_more_is_left_out(self, runtime: Runtime, feed: Feed) -> None:
        await revoke_now(runtime, expires_in=timedelta(seconds=-1))
        assert (await feed.read())[0] == []


class TestCursor:
    async def test_reading_on(self, runtime: Runtime, feed: Feed) -> None:
        first, second = await revoke_now(runtime), await revoke_now(runtime)
        entries, cursor = await feed.read()
        assert session_ids(entries) == [first, second]
        third = await revoke_now(runtime)
        entries, later = await feed.read(cursor)
        assert session_ids(entries) == [third]
        assert (await feed.read(later))[0] == []

    async def test_what_commits_late_is_not_missed(self, runtime: Runtime, feed: Feed) -> None:
        if runtime.database.is_sqlite:
            pytest.skip("on SQLite writers queue up, so the lower id commits first")
        early, late = uuid4(), uuid4()
        async with runtime.database.unit_of_work() as slow:
            await revoke(slow, late)
            async with runtime.database.unit_of_work() as fast:
                await revoke(fast, early)
            entries, cursor = await feed.read()
            assert session_ids(entries) == [early]
            again, cursor = await feed.read(cursor)
            assert late not in session_ids(again)
        entries, cursor = await feed.read(cursor)
        assert late in session_ids(entries)
        assert (await feed.read(cursor))[0] == []

    @pytest.mark.parametrize(
        "cursor", ["", "0", "1", "x" * 200, "é", "AAAAAAAAAAA", base64url.encode(bytes(24)), "-1", "%00"]
    )
    async def test_garbage(self, feed: Feed, cursor: str) -> None:
        response = await feed.get(since=cursor)
        assert response.status_code == 422
        assert response.json()["error"]["code"] == "invalid_cursor"

    async def test_no_byte_can_be_changed(self, feed: Feed) -> None:
        raw = base64url.decode((await feed.read())[1])
        for index in range(len(raw)):
            changed = bytes([*raw[:index], raw[index] ^ 1, *raw[index + 1 :]])
            assert (await feed.get(since=base64url.encode(changed))).status_code == 422

    async def test_a_previous_secret_key_still_reads(
        self, make_app: MakeApp, runtime: Runtime, feed: Feed
    ) -> None:
        _, cursor = await feed.read()
        old = runtime.settings.secret_key
        async with (
            make_app(secret_key="another secret, long enough for a test", secret_key_previous=[old]) as app,
            http_client(app) as client,
        ):
            assert (await Feed(client, app.state.runtime).get(since=cursor)).status_code == 200

    async def test_a_cursor_beyond_the_database_starts_over(self, runtime: Runtime, feed: Feed) -> None:
        """As after a restore: the numbers that the cursor counts by have not been reached yet."""
        await revoke_now(runtime)
        _, cursor = await feed.read()
        if not runtime.database.is_sqlite:
            pytest.skip("PostgreSQL's transactions cannot be wound back within a test")
        async with runtime.database.unit_of_work() as db:
            await db.execute(delete(Revocation))
            db.add(
                Revocation(
                    id=1,
                    transaction_id=0,
                    user_session_id=uuid4(),
                    expires_at=clock.utc_now() + timedelta(hours=1),
                )
            )
        assert len((await feed.read(cursor))[0]) == 1


class TestConditional:
    async def test_nothing_new_is_304(self, runtime: Runtime, feed: Feed) -> None:
        await revoke_now(runtime)
        response = await feed.get()
        tag = response.headers["etag"]
        again = await feed.get(tag=tag)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (await feed.get(tag=f'"other", {tag}')).status_code == 304
        assert (await feed.get(tag='W/"other"')).status_code == 200
        await revoke_now(runtime)
        assert (await feed.get(tag=tag)).status_code == 200


class TestWaiting:
    async def test_news_end_the_wait(self, runtime: Runtime, feed: Feed) -> None:
        _, cursor = await feed.read()
        waiting = asyncio.create_task(feed.read(cursor, wait=20))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        started = time.monotonic()
        session_id = await revoke_now(runtime)
        entries, _ = await waiting
        assert session_ids(entries) == [session_id]
        # The follower polls four times a second; what this process revokes itself is known at once.
        assert time.monotonic() - started < 2

    async def test_no_news_end_it_too(self, feed: Feed) -> None:
        _, cursor = await feed.read()
        started = time.monotonic()
        assert (await feed.read(cursor, wait=0.5))[0] == []
        assert 0.4 < time.monotonic() - started < 5

    async def test_what_is_there_is_not_waited_for(self, runtime: Runtime, feed: Feed) -> None:
        await revoke_now(runtime)
        started = time.monotonic()
        assert len((await feed.read(wait=20))[0]) == 1
        assert time.monotonic() - started < 5

    async def test_what_is_known_is_not_news(self, runtime: Runtime, feed: Feed) -> None:
        """PostgreSQL repeats entries while an older transaction runs; that must not make a busy loop."""
        await revoke_now(runtime)
        tag = (await feed.get()).headers["etag"]
        started = time.monotonic()
        assert (await feed.get(tag=tag, wait=0.5)).status_code == 304
        assert time.monotonic() - started > 0.4

    async def test_no_connection_is_held(
        self, client: httpx.AsyncClient, runtime: Runtime, feed: Feed
    ) -> None:
        async with runtime.database.unit_of_work() as db:
            registered, secret = await service_clients.create_client(db, name="orders", scopes=[])
        _, cursor = await feed.read()
        more = 2 * runtime.settings.database.pool_size
        as_client = {"params": {"since": cursor, "wait": 15}, "auth": (registered.client_id, secret)}
        waiting = [asyncio.create_task(feed.get(since=cursor, wait=15)) for _ in range(more)]
        waiting.append(asyncio.create_task(client.get(FEED, **as_client)))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        assert runtime.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        session_id = await revoke_now(runtime)
        for response in await asyncio.gather(*waiting):
            assert session_ids(response.json()["data"]["revocations"]) == [session_id]


class TestAccess:
    async def test_nobody(self, client: httpx.AsyncClient) -> None:
        response = await client.get(FEED)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "not_authenticated"

    async def test_the_scope_is_needed(self, client: httpx.AsyncClient, runtime: Runtime) -> None:
        for make in (users_token, clients_token):
            for scope, status in (
                ("", 403),
                ("revocations:write users:read", 403),
                ("revocations:read", 200),
            ):
                response = await client.get(FEED, headers=bearer(make(runtime, scope=scope)))
                assert response.status_code == status
        response = await client.get(FEED, headers=bearer("x"))
        assert response.status_code == 401

    async def test_a_service_client_by_its_secret(self, client: httpx.AsyncClient, runtime: Runtime) -> None:
        async with runtime.database.unit_of_work() as db:
            registered, secret = await service_clients.create_client(db, name="orders", scopes=[])
        client_id = registered.client_id
        assert (await client.get(FEED, auth=(client_id, secret))).status_code == 200
        for pair in ((client_id, "wrong"), ("svc_unknown", secret)):
            response = await client.get(FEED, auth=pair)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_client"
        async with runtime.database.unit_of_work() as db:
            await service_clients.revoke_client(db, runtime, client_id=client_id)
        assert (await client.get(FEED, auth=(client_id, secret))).status_code == 401

    @pytest.mark.parametrize("query", ["wait=31", "wait=-1", "wait=nan", "wait=inf", "wait=x", "until=1"])
    async def test_what_the_query_must_not_be(
        self, client: httpx.AsyncClient, runtime: Runtime, query: str
    ) -> None:
        headers = bearer(clients_token(runtime, scope="revocations:read"))
        response = await client.get(f"{FEED}?{query}", headers=headers)
        assert response.status_code == 422
