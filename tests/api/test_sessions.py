"""Refreshing, ending and listing logins over HTTP, on both databases."""

import asyncio
from uuid import uuid4

import httpx
import time_machine
from fastapi import FastAPI

from authapi import clock
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Account, Accounts

REFRESH = "/api/auth/refresh"
LOGOUT = "/api/auth/logout"
ME = "/api/auth/me"


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post(REFRESH, json={"refresh_token": token})


def code(response: httpx.Response) -> str:
    error_code: str = response.json()["error"]["code"]
    return error_code


class TestRefresh:
    async def test_a_refresh_token_gets_the_next_pair(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        response = await refresh(client, account.data["refresh_token"])
        assert response.status_code == 200
        data = response.json()["data"]
        assert data["refresh_token"] != account.data["refresh_token"]
        me = await client.get(ME, headers={"Authorization": f"Bearer {data['access_token']}"})
        assert me.json()["data"]["user_id"] == str(account.id)

    async def test_the_previous_token_within_the_grace_gets_the_current_pair(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        first = await refresh(client, account.data["refresh_token"])
        second = await refresh(client, account.data["refresh_token"])
        assert second.status_code == 200
        assert second.json()["data"]["refresh_token"] == first.json()["data"]["refresh_token"]

    async def test_the_previous_token_after_the_grace_ends_the_session(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        rotated = (await refresh(client, account.data["refresh_token"])).json()["data"]
        with time_machine.travel(clock.utc_now().timestamp() + 31, tick=True):
            reused = await refresh(client, account.data["refresh_token"])
            assert reused.status_code == 401
            assert code(reused) == "refresh_token_reused"
            assert code(await refresh(client, rotated["refresh_token"])) == "invalid_refresh_token"
            me = await client.get(ME, headers={"Authorization": f"Bearer {rotated['access_token']}"})
            assert me.status_code == 401

    async def test_the_token_before_the_previous_ends_the_session(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        second = (await refresh(client, account.data["refresh_token"])).json()["data"]["refresh_token"]
        await refresh(client, second)
        assert code(await refresh(client, account.data["refresh_token"])) == "refresh_token_reused"

    async def test_a_generation_that_was_never_issued(self, app: FastAPI, accounts: Accounts) -> None:
        account = await accounts.register()
        codec = app.state.runtime.refresh_tokens
        parts = codec.parse(account.data["refresh_token"])
        async with http_client(app) as client:
            assert code(await refresh(client, codec.issue(parts.session_id, 7))) == "invalid_refresh_token"
            assert code(await refresh(client, codec.issue(uuid4(), 0))) == "invalid_refresh_token"
            assert (await refresh(client, account.data["refresh_token"])).status_code == 200

    async def test_fifty_at_once_rotate_once(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        responses = await asyncio.gather(*(refresh(client, account.data["refresh_token"]) for _ in range(50)))
        assert {r.status_code for r in responses} == {200}
        assert len({r.json()["data"]["refresh_token"] for r in responses}) == 1

    async def test_idle_and_absolute_lifetime(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        token = account.data["refresh_token"]
        start = clock.utc_now().timestamp()
        day = 86_400
        for days in (13, 26):
            with time_machine.travel(start + days * day, tick=True):
                response = await refresh(client, token)
                assert response.status_code == 200
                token = response.json()["data"]["refresh_token"]
        with time_machine.travel(start + 31 * day, tick=True):
            assert code(await refresh(client, token)) == "invalid_refresh_token"
        other = await accounts.register()
        with time_machine.travel(start + 15 * day, tick=True):
            assert code(await refresh(client, other.data["refresh_token"])) == "invalid_refresh_token"


class TestLogout:
    async def test_access_and_refresh_token_end_at_once(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        assert (await client.post(LOGOUT, headers=account.headers)).status_code == 200
        assert code(await client.get(ME, headers=account.headers)) == "invalid_token"
        assert code(await refresh(client, account.data["refresh_token"])) == "invalid_refresh_token"

    async def test_by_refresh_token_alone(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        with time_machine.travel(clock.utc_now().timestamp() + 7200, tick=True):
            body = {"refresh_token": account.data["refresh_token"]}
            response = await client.post(LOGOUT, json=body, headers=account.headers)
            assert response.status_code == 200
            assert code(await refresh(client, account.data["refresh_token"])) == "invalid_refresh_token"

    async def test_without_any_proof(self, client: httpx.AsyncClient) -> None:
        assert code(await client.post(LOGOUT)) == "not_authenticated"

    async def test_everywhere_spares_a_login_in_the_same_second(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        other = await accounts.log_in(account)
        response = await client.post("/api/auth/logout-all", headers=account.headers)
        assert response.json()["data"]["ended_sessions"] == 2
        assert (await client.get(ME, headers=other.headers)).status_code == 401
        again = await accounts.log_in(account)
        assert (await client.get(ME, headers=again.headers)).status_code == 200


class TestSessions:
    async def test_list_and_end(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        first = await accounts.register()
        second = await accounts.log_in(first)
        listed = (await client.get("/api/auth/sessions", headers=second.headers)).json()["data"]
        assert [session["current"] for session in listed] == [True, False]
        assert listed[0]["ip"] == "203.0.113.7"
        path = f"/api/auth/sessions/{listed[1]['id']}"
        assert (await client.delete(path, headers=second.headers)).status_code == 200
        assert (await client.get(ME, headers=first.headers)).status_code == 401
        assert code(await client.delete(path, headers=second.headers)) == "session_not_found"

    async def test_sessions_of_others_are_not_found(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        mine, theirs = await accounts.register(), await accounts.register()
        listed = (await client.get("/api/auth/sessions", headers=theirs.headers)).json()["data"]
        response = await client.delete(f"/api/auth/sessions/{listed[0]['id']}", headers=mine.headers)
        assert response.status_code == 404
        assert (await client.get(ME, headers=theirs.headers)).status_code == 200

    async def test_the_oldest_ends_beyond_the_cap(self, make_app: MakeApp) -> None:
        async with make_app(session={"max_per_user": 2}) as app, http_client(app) as client:
            accounts = Accounts(client, app.state.runtime)
            first = await accounts.register()
            second = await accounts.log_in(first)
            third = await accounts.log_in(first)
            statuses = [
                (await client.get(ME, headers=account.headers)).status_code
                for account in (first, second, third)
            ]
            assert statuses == [401, 200, 200]


class TestCookie:
    async def login(self, client: httpx.AsyncClient, account: Account) -> httpx.Response:
        body = {"email": account.email, "password": PASSWORD, "token_delivery": "cookie"}
        return await client.post("/api/auth/login", json=body)

    async def test_the_cookie_holds_the_token(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        response = await self.login(client, await accounts.register())
        assert response.json()["data"]["refresh_token"] is None
        assert "HttpOnly" in response.headers["set-cookie"]
        assert "samesite=strict" in response.headers["set-cookie"].lower()
        refreshed = await client.post(REFRESH)
        assert refreshed.status_code == 200
        assert refreshed.json()["data"]["refresh_token"] is None
        assert (await client.post(LOGOUT)).status_code == 200
        assert code(await client.post(REFRESH)) == "invalid_refresh_token"

    async def test_foreign_pages_cannot_use_it(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        await self.login(client, await accounts.register())
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            assert code(await client.post(REFRESH, headers=headers)) == "cross_site_request"
            assert code(await client.post(LOGOUT, headers=headers)) == "cross_site_request"
        assert (await client.post(REFRESH, headers={"Origin": "http://localhost:3000"})).status_code == 200

    async def test_over_https_it_is_bound_to_the_host(self, make_app: MakeApp) -> None:
        async with make_app(public_url="https://auth.example.com") as app, http_client(app) as client:
            account = await Accounts(client, app.state.runtime).register()
            response = await self.login(client, account)
            cookie = response.headers["set-cookie"]
            assert cookie.startswith("__Host-authapi_refresh=")
            assert "Secure" in cookie
            assert "Path=/" in cookie
            assert "Domain" not in cookie


class TestReauthenticate:
    async def test_auth_time_moves_and_the_session_stays(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        before = (await client.get(ME, headers=account.headers)).json()["data"]
        with time_machine.travel(clock.utc_now().timestamp() + 60, tick=True):
            response = await client.post(
                "/api/auth/reauthenticate", json={"password": PASSWORD}, headers=account.headers
            )
            token = response.json()["data"]["access_token"]
            after = (await client.get(ME, headers={"Authorization": f"Bearer {token}"})).json()["data"]
        assert after["auth_time"] > before["auth_time"]
        assert after["session_id"] == before["session_id"]

    async def test_wrong_password(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        response = await client.post(
            "/api/auth/reauthenticate", json={"password": "wrong"}, headers=account.headers
        )
        assert code(response) == "invalid_credentials"
