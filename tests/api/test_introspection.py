"""Introspection (RFC 7662) and revocation (RFC 7009) over HTTP, on both databases."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import time_machine
from sqlalchemy import select, update

from authapi import clock
from authapi.enums import AuditAction
from authapi.models import AuditEvent, ServiceClient, User, UserSession
from authapi.runtime import Runtime
from authapi.services.service_clients import revoke_client
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.clients import TOKEN, Client, own_token, register_client

pytestmark = pytest.mark.one_database

INTROSPECT = "/api/auth/introspect"
REVOKE = "/api/auth/revoke"
ME = "/api/auth/me"
INACTIVE = {"active": False}


@pytest.fixture
async def service(runtime: Runtime) -> Client:
    return await register_client(runtime, "users:read")


@pytest.fixture
async def other(runtime: Runtime) -> Client:
    return await register_client(runtime, name="stranger")


async def introspect(http: httpx.AsyncClient, service: Client, token: str, **more: str) -> dict[str, Any]:
    response = await http.post(INTROSPECT, data={"token": token, **more}, auth=service.basic)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, Any] = response.json()
    return body


async def revoke(http: httpx.AsyncClient, service: Client, token: str, **more: str) -> httpx.Response:
    return await http.post(REVOKE, data={"token": token, **more}, auth=service.basic)


async def session_of(http: httpx.AsyncClient, account: Account, service: Client) -> dict[str, Any]:
    """Tokens of a user that belong to a client."""
    form = {"grant_type": "password", "username": account.email, "password": PASSWORD}
    body: dict[str, Any] = (await http.post(TOKEN, data=form, auth=service.basic)).json()
    return body


async def is_alive(http: httpx.AsyncClient, access_token: str) -> bool:
    return (await http.get(ME, headers={"Authorization": f"Bearer {access_token}"})).status_code == 200


class TestActive:
    async def test_a_users_access_token(
        self, client: httpx.AsyncClient, runtime: Runtime, accounts: Accounts, service: Client
    ) -> None:
        account = await accounts.admin()
        claims = runtime.tokens.verify(account.access_token).claims
        assert await introspect(client, service, account.access_token) == {
            "active": True,
            "scope": claims.scope,
            "client_id": "authapi",
            "username": account.email,
            "token_type": "Bearer",
            "exp": claims.exp,
            "iat": claims.iat,
            "sub": str(account.id),
            "aud": "authapi",
            "iss": "http://127.0.0.1:5001",
            "jti": claims.jti,
            "sid": claims.sid,
            "role": "admin",
            "roles": ["admin"],
            "amr": ["pwd"],
            "auth_time": claims.auth_time,
        }

    async def test_a_users_access_token_of_another_client(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client, other: Client
    ) -> None:
        tokens = await session_of(client, await accounts.register(), other)
        body = await introspect(client, service, tokens["access_token"])
        assert (body["active"], body["client_id"]) == (True, other.client_id)

    async def test_a_clients_own_token(
        self, client: httpx.AsyncClient, service: Client, other: Client
    ) -> None:
        token = (await own_token(client, other))["access_token"]
        body = await introspect(client, service, token)
        assert body["active"] is True
        assert body["sub"] == body["client_id"] == other.client_id
        assert body.keys() == {
            *("active", "scope", "client_id", "token_type", "exp", "iat", "sub", "aud", "iss", "jti")
        }

    @pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "something else"])
    async def test_the_hint_does_not_matter(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client, hint: str
    ) -> None:
        account = await accounts.register()
        for token in (account.access_token, account.data["refresh_token"]):
            assert (await introspect(client, service, token, token_type_hint=hint))["active"] is True

    async def test_a_refresh_token_cannot_be_taken_for_an_access_token(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client
    ) -> None:
        account = await accounts.admin()
        body = await introspect(client, service, account.data["refresh_token"])
        assert (body["active"], body["sub"], body["username"]) == (True, str(account.id), account.email)
        assert body["exp"] > body["iat"]
        assert not {"scope", "aud", "role", "roles", "token_type"} & body.keys()


class TestInactive:
    @pytest.mark.parametrize(
        "token", ["x", "a.b.c", "authapi_rt_" + "A" * 76, "ä", "authapi_cs_x", "x" * 16_384, "e30.e30."]
    )
    async def test_nonsense(self, client: httpx.AsyncClient, service: Client, token: str) -> None:
        assert await introspect(client, service, token) == INACTIVE

    async def test_expired(self, client: httpx.AsyncClient, accounts: Accounts, service: Client) -> None:
        account = await accounts.register()
        with time_machine.travel(clock.utc_now().timestamp() + 3600 + 31, tick=True):
            assert await introspect(client, service, account.access_token) == INACTIVE

    async def test_logged_out(self, client: httpx.AsyncClient, accounts: Accounts, service: Client) -> None:
        account = await accounts.register()
        await client.post("/api/auth/logout", headers=account.headers)
        for token in (account.access_token, account.data["refresh_token"]):
            assert await introspect(client, service, token) == INACTIVE

    async def test_what_the_database_says_counts_at_once(
        self, client: httpx.AsyncClient, runtime: Runtime, accounts: Accounts, service: Client
    ) -> None:
        # Written past the services: this process has not heard of it.
        ended, disabled, changed = [await accounts.register() for _ in range(3)]
        now = clock.utc_now()
        async with runtime.database.unit_of_work() as db:
            await db.execute(
                update(UserSession).where(UserSession.user_id == ended.id).values(revoked_at=now)
            )
            await db.execute(update(User).where(User.id == disabled.id).values(disabled_at=now))
            await db.execute(update(User).where(User.id == changed.id).values(tokens_not_before=now))
        for account in (ended, disabled, changed):
            assert await introspect(client, service, account.access_token) == INACTIVE
        for account in (ended, disabled):
            assert await introspect(client, service, account.data["refresh_token"]) == INACTIVE

    async def test_a_rotated_refresh_token(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client
    ) -> None:
        token = (await accounts.register()).data["refresh_token"]
        body = {"refresh_token": token}
        next_pair = (await client.post("/api/auth/refresh", json=body)).json()["data"]
        assert await introspect(client, service, token) == INACTIVE
        assert (await introspect(client, service, next_pair["refresh_token"]))["active"] is True

    async def test_another_clients_refresh_token(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client, other: Client
    ) -> None:
        tokens = await session_of(client, await accounts.register(), other)
        assert await introspect(client, service, tokens["refresh_token"]) == INACTIVE
        assert (await introspect(client, other, tokens["refresh_token"]))["active"] is True

    async def test_a_revoked_clients_token(
        self, client: httpx.AsyncClient, runtime: Runtime, service: Client, other: Client
    ) -> None:
        token = (await own_token(client, other))["access_token"]
        async with runtime.database.unit_of_work() as db:
            await revoke_client(db, runtime, client_id=other.client_id)
        assert await introspect(client, service, token) == INACTIVE


class TestRevoke:
    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    async def test_either_token_ends_the_session(
        self, client: httpx.AsyncClient, runtime: Runtime, accounts: Accounts, service: Client, kind: str
    ) -> None:
        account = await accounts.register()
        tokens = await session_of(client, account, service)
        response = await revoke(client, service, tokens[kind])
        assert (response.status_code, response.content) == (200, b"")
        assert not await is_alive(client, tokens["access_token"])
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        refreshed = await client.post(TOKEN, data=form, auth=service.basic)
        assert refreshed.json()["error"] == "invalid_grant"
        assert await is_alive(client, account.access_token), "other sessions go on"
        async with runtime.database.reading() as db:
            event = await db.scalar(select(AuditEvent).where(AuditEvent.action == AuditAction.TOKEN_REVOKED))
        assert event is not None
        assert (event.subject_id, event.details) == (account.id, {"client_id": service.client_id})
        again = await revoke(client, service, tokens[kind])
        assert again.status_code == 200

    async def test_a_rotated_refresh_token_ends_the_session_too(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client
    ) -> None:
        tokens = await session_of(client, await accounts.register(), service)
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        rotated = (await client.post(TOKEN, data=form, auth=service.basic)).json()
        await revoke(client, service, tokens["refresh_token"])
        assert not await is_alive(client, rotated["access_token"])

    async def test_tokens_of_a_login_at_authapi_itself(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client
    ) -> None:
        for kind in ("access_token", "refresh_token"):
            account = await accounts.register()
            assert (await revoke(client, service, account.data[kind])).status_code == 200
            assert not await is_alive(client, account.access_token)

    async def test_tokens_of_another_client(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client, other: Client
    ) -> None:
        tokens = await session_of(client, await accounts.register(), other)
        own = (await own_token(client, other))["access_token"]
        for token in (tokens["access_token"], tokens["refresh_token"], own):
            response = await revoke(client, service, token)
            assert response.status_code == 400
            assert response.json()["error"] == "unauthorized_client"
        assert await is_alive(client, tokens["access_token"])
        assert (await introspect(client, service, own))["active"] is True

    async def test_a_clients_own_token(self, client: httpx.AsyncClient, service: Client) -> None:
        token = (await own_token(client, service))["access_token"]
        assert (await revoke(client, service, token)).status_code == 200
        assert await introspect(client, service, token) == INACTIVE
        # Within the same second, by the clock of the claims.
        following = (await own_token(client, service))["access_token"]
        assert (await introspect(client, service, following))["active"] is True
        assert (await revoke(client, service, token)).status_code == 200
        assert (await introspect(client, service, following))["active"] is True

    async def test_a_clients_own_token_that_another_process_has_voided(
        self, client: httpx.AsyncClient, runtime: Runtime, service: Client
    ) -> None:
        token = (await own_token(client, service))["access_token"]
        later = clock.utc_now() + timedelta(seconds=5)
        async with runtime.database.unit_of_work() as db:
            await db.execute(update(ServiceClient).values(tokens_not_before=later))
        assert (await revoke(client, service, token)).status_code == 200
        async with runtime.database.reading() as db:
            assert await db.scalar(select(ServiceClient.tokens_not_before)) == later, "it must not go back"

    @pytest.mark.parametrize("token", ["x", "a.b.c", "authapi_rt_" + "A" * 76, "ä"])
    async def test_nonsense(self, client: httpx.AsyncClient, service: Client, token: str) -> None:
        response = await revoke(client, service, token, token_type_hint="whatever")
        assert (response.status_code, response.content) == (200, b"")

    async def test_a_refresh_token_of_a_session_that_never_was(
        self, client: httpx.AsyncClient, runtime: Runtime, service: Client
    ) -> None:
        token = runtime.refresh_tokens.issue(UUID(int=7), 0)
        assert (await revoke(client, service, token)).status_code == 200
        assert await introspect(client, service, token) == INACTIVE


@pytest.mark.parametrize("path", [INTROSPECT, REVOKE])
class TestDoor:
    async def test_only_clients(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client, path: str
    ) -> None:
        account = await accounts.admin()
        own = (await own_token(client, service))["access_token"]
        form = {"token": account.access_token}
        for options in (
            {},
            {"auth": ("", "")},
            {"auth": ("authapi", "")},
            {"auth": (service.client_id, "wrong")},
            {"auth": (account.email, PASSWORD)},
            {"headers": account.headers},
            {"headers": {"Authorization": f"Bearer {own}"}},
        ):
            response = await client.post(path, data=form, **options)
            assert response.status_code == 401, options
            assert response.json()["error"] == "invalid_client"
            assert response.headers["www-authenticate"].startswith("Basic")
        assert await is_alive(client, account.access_token)

    async def test_by_form(self, client: httpx.AsyncClient, service: Client, path: str) -> None:
        response = await client.post(path, data={"token": "x", **service.form})
        assert response.status_code == 200

    async def test_requests_that_are_none(
        self, client: httpx.AsyncClient, service: Client, path: str
    ) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for content in ("", "token=", "token=a&token=b", "token=%ff", f"token={'x' * 16_385}"):
            response = await client.post(path, content=content, headers=headers, auth=service.basic)
            assert (response.status_code, response.json()["error"]) == (400, "invalid_request"), content
        both = await client.post(path, data={"token": "x", **service.form}, auth=service.basic)
        assert both.json()["error"] == "invalid_request"
        assert (await client.get(path, params={"token": "x"}, auth=service.basic)).status_code == 405
