"""The token endpoint and client authentication over HTTP, on both databases."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import time_machine
from fastapi import FastAPI
from sqlalchemy import select

from authapi import clock
from authapi.enums import AuditAction
from authapi.models import AuditEvent
from authapi.runtime import Runtime
from authapi.services.service_clients import revoke_client
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.clients import TOKEN, Client, own_token, register_client

pytestmark = pytest.mark.one_database

ME = "/api/auth/me"


@pytest.fixture
async def service(runtime: Runtime) -> Client:
    return await register_client(runtime, "users:read", "revocations:read")


async def password_grant(http: httpx.AsyncClient, account: Account, **more: Any) -> httpx.Response:
    options = {"auth": more.pop("auth")} if "auth" in more else {}
    form = {"grant_type": "password", "username": account.email, "password": PASSWORD, **more}
    return await http.post(TOKEN, data=form, **options)


async def refresh_grant(http: httpx.AsyncClient, token: str, **more: Any) -> httpx.Response:
    options = {"auth": more.pop("auth")} if "auth" in more else {}
    return await http.post(
        TOKEN, data={"grant_type": "refresh_token", "refresh_token": token, **more}, **options
    )


def refused(response: httpx.Response, error: str, status_code: int = 400) -> None:
    """The whole shape of RFC 6749 section 5.2."""
    assert response.status_code == status_code, response.text
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error", "error_description"}
    assert response.json()["error"] == error
    assert ("www-authenticate" in response.headers) == (status_code == 401)


class TestPasswordGrant:
    async def test_a_pair(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.admin()
        response = await password_grant(client, account)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        body = response.json()
        assert body.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
        assert (body["token_type"], body["expires_in"]) == ("bearer", 3600)
        assert "revocations:read" in body["scope"].split()
        me = await client.get(ME, headers={"Authorization": f"Bearer {body['access_token']}"})
        assert me.json()["data"]["scopes"] == sorted(body["scope"].split())

    async def test_scope_narrows_and_what_the_user_may_not_do_is_left_out(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        admin, user = await accounts.admin(), await accounts.register()
        response = await password_grant(client, admin, scope="users:read nobody:knows users:read")
        assert response.json()["scope"] == "users:read"
        response = await password_grant(client, user, scope="users:read")
        assert response.status_code == 200
        assert response.json()["scope"] == ""

    @pytest.mark.parametrize("scope", [" users:read", "users:read ", "a  b", 'a"b', "a\\b", "a\tb", "ä"])
    async def test_a_malformed_scope(self, client: httpx.AsyncClient, accounts: Accounts, scope: str) -> None:
        refused(await password_grant(client, await accounts.admin(), scope=scope), "invalid_scope")

    async def test_wrong_password_and_unknown_user(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        wrong = await password_grant(client, account, password="wrong")
        unknown = await password_grant(client, account, username="nobody@example.com")
        refused(wrong, "invalid_grant")
        assert wrong.content == unknown.content

    async def test_parameters_without_a_value_count_as_left_out(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        empty = {"scope": "", "client_id": "", "client_secret": "", "unknown": "ignored"}
        assert (await password_grant(client, account, **empty)).status_code == 200
        assert (await password_grant(client, account, auth=("", ""))).status_code == 200
        assert (await password_grant(client, account, auth=("authapi", ""))).status_code == 200
        assert (await password_grant(client, account, client_id="authapi")).status_code == 200
        refused(await password_grant(client, account, username=""), "invalid_request")
        refused(await password_grant(client, account, password=""), "invalid_request")


class TestRefreshGrant:
    async def test_rotates_and_keeps_the_scope(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        first = (await password_grant(client, await accounts.admin(), scope="users:read roles:read")).json()
        second = (await refresh_grant(client, first["refresh_token"])).json()
        assert second["refresh_token"] != first["refresh_token"]
        assert second["scope"] == "roles:read users:read"

    async def test_scope_narrows_one_access_token_only(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        first = (await password_grant(client, await accounts.admin(), scope="users:read roles:read")).json()
        narrow = (await refresh_grant(client, first["refresh_token"], scope="users:read")).json()
        assert narrow["scope"] == "users:read"
        wide = (await refresh_grant(client, narrow["refresh_token"])).json()
        assert wide["scope"] == "roles:read users:read"

    async def test_more_than_the_session_was_opened_for(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        first = (await password_grant(client, await accounts.admin(), scope="users:read")).json()
        refused(
            await refresh_grant(client, first["refresh_token"], scope="users:read users:write"),
            "invalid_scope",
        )
        with time_machine.travel(clock.utc_now().timestamp() + 60, tick=True):
            again = await refresh_grant(client, first["refresh_token"])
        assert again.status_code == 200, "a refused request must not have rotated"

    async def test_a_client_may_repeat_what_it_asked_for(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        first = (await password_grant(client, await accounts.register(), scope="users:read")).json()
        repeated = await refresh_grant(client, first["refresh_token"], scope="users:read")
        assert (repeated.status_code, repeated.json()["scope"]) == (200, "")

    async def test_no_token_and_a_reused_one(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        refused(await refresh_grant(client, ""), "invalid_request")
        refused(await refresh_grant(client, "authapi_rt_nonsense"), "invalid_grant")
        first = (await password_grant(client, await accounts.register())).json()
        second = (await refresh_grant(client, first["refresh_token"])).json()
        with time_machine.travel(clock.utc_now().timestamp() + 31, tick=True):
            refused(await refresh_grant(client, first["refresh_token"]), "invalid_grant")
            refused(await refresh_grant(client, second["refresh_token"]), "invalid_grant")


class TestSessionsOfClients:
    async def test_refresh_is_for_the_same_client_only(
        self, client: httpx.AsyncClient, runtime: Runtime, accounts: Accounts, service: Client
    ) -> None:
        other = await register_client(runtime)
        tokens = (await password_grant(client, await accounts.register(), auth=service.basic)).json()
        claims = runtime.tokens.verify(tokens["access_token"]).claims
        assert claims.client_id == service.client_id
        for options in ({}, {"auth": other.basic}, other.form):
            refused(await refresh_grant(client, tokens["refresh_token"], **options), "invalid_grant")
        by_json = await client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert by_json.json()["error"]["code"] == "invalid_refresh_token"
        # Past the grace, in which a refused request that had rotated all the same would not show.
        with time_machine.travel(clock.utc_now().timestamp() + 60, tick=True):
            rotated = await refresh_grant(client, tokens["refresh_token"], **service.form)
            assert rotated.status_code == 200
            claims = runtime.tokens.verify(rotated.json()["access_token"]).claims
        assert claims.client_id == service.client_id

    async def test_a_client_with_many_sessions_does_not_use_up_the_connections(
        self, make_app: MakeApp
    ) -> None:
        """A refresh that kept the connection that its client was looked up on would wait for a second one."""
        async with make_app(database={"pool_size": 2}) as app, http_client(app) as client:
            service = await register_client(app.state.runtime, "users:read")
            account = await Accounts(client, app.state.runtime).register()
            logins = [(await password_grant(client, account, auth=service.basic)).json() for _ in range(8)]
            refreshed = await asyncio.gather(
                *(refresh_grant(client, login["refresh_token"], auth=service.basic) for login in logins)
            )
        assert [response.status_code for response in refreshed] == [200] * 8

    async def test_a_login_at_authapi_itself_belongs_to_no_client(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client
    ) -> None:
        account = await accounts.register()
        token = account.data["refresh_token"]
        refused(await refresh_grant(client, token, auth=service.basic), "invalid_grant")
        assert (await refresh_grant(client, token)).status_code == 200

    async def test_they_end_with_the_client(
        self, client: httpx.AsyncClient, runtime: Runtime, accounts: Accounts, service: Client
    ) -> None:
        account = await accounts.register()
        tokens = (await password_grant(client, account, auth=service.basic)).json()
        async with runtime.database.unit_of_work() as db:
            await revoke_client(db, runtime, client_id=service.client_id)
        me = await client.get(ME, headers={"Authorization": f"Bearer {tokens['access_token']}"})
        assert me.status_code == 401
        assert (await client.get(ME, headers=account.headers)).status_code == 200
        refused(
            await refresh_grant(client, tokens["refresh_token"], auth=service.basic), "invalid_client", 401
        )


class TestClientCredentialsGrant:
    async def test_a_token_in_its_own_name(
        self, client: httpx.AsyncClient, runtime: Runtime, service: Client
    ) -> None:
        body = await own_token(client, service)
        assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
        assert body["scope"] == "revocations:read users:read"
        claims = runtime.tokens.verify(body["access_token"]).claims
        assert claims.sub == claims.client_id == service.client_id
        assert (claims.sid, claims.user_id, claims.email, claims.roles) == (None, None, None, ())
        assert claims.exp - claims.iat == body["expires_in"]

    async def test_scope(self, client: httpx.AsyncClient, service: Client) -> None:
        assert (await own_token(client, service, scope="users:read"))["scope"] == "users:read"
        form = {"grant_type": "client_credentials", **service.form}
        for scope in ("users:read users:write", "admin", "users:read  revocations:read"):
            refused(await client.post(TOKEN, data={**form, "scope": scope}), "invalid_scope")

    async def test_without_client_authentication(self, client: httpx.AsyncClient) -> None:
        refused(await client.post(TOKEN, data={"grant_type": "client_credentials"}), "invalid_client", 401)

    async def test_a_revoked_clients_tokens_end(
        self, client: httpx.AsyncClient, runtime: Runtime, service: Client
    ) -> None:
        token = (await own_token(client, service))["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert (await client.post("/validate", headers=headers)).status_code == 200
        async with runtime.database.unit_of_work() as db:
            await revoke_client(db, runtime, client_id=service.client_id)
        assert (await client.post("/validate", headers=headers)).status_code == 403
        form = {"grant_type": "client_credentials"}
        refused(await client.post(TOKEN, data=form, auth=service.basic), "invalid_client", 401)

    async def test_a_token_signed_by_a_host_whose_clock_is_fast_ends_too(
        self, client: httpx.AsyncClient, runtime: Runtime, service: Client
    ) -> None:
        with time_machine.travel(clock.utc_now().timestamp() + 20, tick=True):
            token = (await own_token(client, service))["access_token"]
        async with runtime.database.unit_of_work() as db:
            await revoke_client(db, runtime, client_id=service.client_id)
        headers = {"Authorization": f"Bearer {token}"}
        assert (await client.post("/validate", headers=headers)).status_code == 403


class TestClientAuthentication:
    async def test_percent_encoded_basic(self, client: httpx.AsyncClient, service: Client) -> None:
        # RFC 6749 section 2.3.1: both are form-encoded before they are joined.
        encoded = ["".join(f"%{ord(c):02X}" for c in text) for text in service.basic]
        form = {"grant_type": "client_credentials"}
        assert (await client.post(TOKEN, data=form, auth=(encoded[0], encoded[1]))).status_code == 200

    async def test_an_id_may_be_repeated_in_the_form_a_secret_not(
        self, client: httpx.AsyncClient, service: Client
    ) -> None:
        form = {"grant_type": "client_credentials", "client_id": service.client_id}
        assert (await client.post(TOKEN, data=form, auth=service.basic)).status_code == 200
        for more in ({"client_secret": service.client_secret}, {"client_id": "svc_other"}):
            response = await client.post(TOKEN, data={**form, **more}, auth=service.basic)
            refused(response, "invalid_request")

    @pytest.mark.parametrize("grant", ["password", "refresh_token", "client_credentials"])
    async def test_what_is_given_must_be_right(
        self, client: httpx.AsyncClient, accounts: Accounts, service: Client, grant: str
    ) -> None:
        account = await accounts.register()
        form = {
            "grant_type": grant,
            "username": account.email,
            "password": PASSWORD,
            "refresh_token": account.data["refresh_token"],
        }
        wrong = [
            {"client_id": service.client_id},
            {"client_id": str(account.id)},
            {"client_secret": service.client_secret},
            {"client_id": service.client_id, "client_secret": service.client_secret + "x"},
            {"client_id": "svc_" + "0" * 32, "client_secret": service.client_secret},
            {"client_id": "authapi", "client_secret": service.client_secret},
            {"client_id": service.client_id.upper(), "client_secret": service.client_secret},
            {"client_id": str(account.id), "client_secret": PASSWORD},
        ]
        answers = [await client.post(TOKEN, data=form | more) for more in wrong]
        answers.append(await client.post(TOKEN, data=form, auth=(service.client_id, "wrong")))
        for answer in answers:
            refused(answer, "invalid_client", 401)
            assert answer.headers["www-authenticate"] == 'Basic realm="authapi"'
        assert len({answer.content for answer in answers}) == 1

    @pytest.mark.parametrize(
        "encoded", ["%", "a", base64.b64encode(b"\xff:x").decode(), base64.b64encode(b"%ff:%00").decode()]
    )
    async def test_unreadable_basic(
        self, client: httpx.AsyncClient, accounts: Accounts, encoded: str
    ) -> None:
        account = await accounts.register()
        form = {"grant_type": "password", "username": account.email, "password": PASSWORD}
        response = await client.post(TOKEN, data=form, headers={"Authorization": f"Basic {encoded}"})
        refused(response, "invalid_client", 401)

    async def test_failures_are_on_record_without_secrets_that_were_sent(
        self, client: httpx.AsyncClient, runtime: Runtime, service: Client
    ) -> None:
        form = {"grant_type": "client_credentials"}
        await client.post(TOKEN, data=form, auth=(service.client_id, "wrong"))
        await client.post(TOKEN, data=form, auth=(f"svc_{'0' * 32}", "wrong"))
        await client.post(TOKEN, data=form, auth=(service.client_secret, ""))
        async with runtime.database.reading() as db:
            events = list(
                await db.scalars(
                    select(AuditEvent)
                    .where(AuditEvent.action == AuditAction.CLIENT_AUTHENTICATION_FAILED)
                    .order_by(AuditEvent.id)
                )
            )
        assert [(event.reason, event.details) for event in events] == [
            ("wrong_secret", {"client_id": service.client_id}),
            ("unknown_client", {"client_id": f"svc_{'0' * 32}"}),
            ("unknown_client", {}),
        ]

    async def test_failures_do_not_fill_the_audit_trail(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"public": "3/minute"}) as app, http_client(app) as http:
            service = await register_client(app.state.runtime)
            form = {"grant_type": "client_credentials"}
            answers = [await http.post(TOKEN, data=form, auth=(service.client_id, "no")) for _ in range(5)]
            assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2
            refused(answers[-1], "temporarily_unavailable", 429)
            assert (await http.post(TOKEN, data=form, auth=service.basic)).status_code == 200
            async with app.state.runtime.database.reading() as db:
                action = AuditEvent.action == AuditAction.CLIENT_AUTHENTICATION_FAILED
                assert len(list(await db.scalars(select(AuditEvent).where(action)))) == 3


class TestRequests:
    async def test_repeated_parameters(self, client: httpx.AsyncClient, service: Client) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = "grant_type=client_credentials&grant_type=client_credentials"
        refused(
            await client.post(TOKEN, content=body, headers=headers, auth=service.basic), "invalid_request"
        )

    @pytest.mark.parametrize(
        ("content", "media_type"),
        [
            ('{"grant_type": "password"}', "application/json"),
            ("grant_type=%zz", "application/x-www-form-urlencoded"),
            ("grant_type=%00", "application/x-www-form-urlencoded"),
            ("x" * 100, "text/plain"),
            (f"grant_type={'x' * 200}", "application/x-www-form-urlencoded"),
            ("", "application/x-www-form-urlencoded"),
        ],
    )
    async def test_no_form(self, client: httpx.AsyncClient, content: str, media_type: str) -> None:
        response = await client.post(TOKEN, content=content, headers={"Content-Type": media_type})
        refused(response, "invalid_request")

    async def test_unknown_grants(self, client: httpx.AsyncClient) -> None:
        for grant in ("authorization_code", "PASSWORD", "implicit"):
            refused(await client.post(TOKEN, data={"grant_type": grant}), "unsupported_grant_type")

    async def test_post_only(self, client: httpx.AsyncClient) -> None:
        response = await client.get(TOKEN, params={"grant_type": "password"})
        assert (response.status_code, response.headers["allow"]) == (405, "POST")

    async def test_too_much(self, client: httpx.AsyncClient) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(70):
                yield b"x" * 1000

        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        declared = await client.post(TOKEN, data={"grant_type": "x" * 70_000})
        chunked = await client.post(TOKEN, content=chunks(), headers=headers)
        for response in (declared, chunked):
            assert response.status_code == 413
            assert response.json()["error"]["code"] == "payload_too_large"


class TestLimits:
    async def test_each_grant_has_its_own(self, make_app: MakeApp) -> None:
        limited = {"auth": "2/minute", "refresh": "3/minute", "public": "2/minute"}
        async with make_app(rate_limit=limited) as app, http_client(app) as http:
            account = await Accounts(http, app.state.runtime).register()
            service = await register_client(app.state.runtime)
            passwords = [await password_grant(http, account, password="wrong") for _ in range(3)]
            assert [r.status_code for r in passwords] == [400, 400, 429]
            refused(passwords[-1], "temporarily_unavailable", 429)
            assert int(passwords[-1].headers["retry-after"]) >= 1
            assert passwords[0].headers["x-ratelimit-limit"] == "2"
            refreshes = [await refresh_grant(http, account.data["refresh_token"]) for _ in range(4)]
            assert [r.status_code for r in refreshes] == [200, 200, 200, 429]
            others = [await http.post(TOKEN, data={"grant_type": "x"}) for _ in range(3)]
            assert [r.status_code for r in others] == [400, 400, 429]
            for _ in range(8):
                await own_token(http, service)


class TestMessages:
    async def test_a_bad_form_is_not_told_to_read_fields(self, client: httpx.AsyncClient) -> None:
        response = await client.post(TOKEN, data={"grant_type": "password", "password": "x" * 1025})
        refused(response, "invalid_request")
        assert response.json()["error_description"] == "A parameter is missing, repeated or malformed."


class TestDocument:
    async def test_clients_are_optional_for_tokens_only(self, app: FastAPI) -> None:
        document = app.openapi()
        security = {
            path: document["paths"][f"/api/auth/{path}"]["post"]["security"]
            for path in ("token", "introspect", "revoke")
        }
        assert security["token"] == [{"ServiceClient": []}, {}]
        assert security["introspect"] == security["revoke"] == [{"ServiceClient": []}]
        assert document["components"]["securitySchemes"]["ServiceClient"]["scheme"] == "basic"

    @pytest.mark.parametrize("path", ["token", "introspect", "revoke"])
    async def test_every_answer_is_described(self, app: FastAPI, path: str) -> None:
        operation = app.openapi()["paths"][f"/api/auth/{path}"]["post"]
        assert operation["operationId"] == path
        assert operation["responses"].keys() >= {"200", "400", "401", "413", "429", "503"}
