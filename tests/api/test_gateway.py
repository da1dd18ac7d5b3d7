"""The microservice surface over HTTP, on both databases."""

import base64
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import time_machine
from fastapi import FastAPI
from sqlalchemy import update

from authapi import clock
from authapi.models import User
from authapi.runtime import Runtime
from tests.conftest import MakeApp, http_client
from tests.support.accounts import Account, Accounts
from tests.support.authenticators import enroll
from tests.support.signed_tokens import bearer, clients_token, users_token
from tests.support.statements import recorded_statements

pytestmark = pytest.mark.one_database

NOT_AUTHORIZED = "Not authorized: token invalid, expired or revoked"
UNCONFIRMED = float("-inf")


def basic(text: str | bytes) -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return {"Authorization": f"Basic {base64.b64encode(raw).decode()}"}


async def log_in_basic(client: httpx.AsyncClient, account: Account) -> httpx.Response:
    return await client.post("/login", headers=basic(f"{account.email}:{account.password}"))


class TestLogin:
    async def test_the_body_is_the_token(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        response = await log_in_basic(client, await accounts.register())
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert (await client.get("/api/auth/me", headers=bearer(response.text))).status_code == 200

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": ""}])
    async def test_without_credentials(self, client: httpx.AsyncClient, headers: dict[str, str]) -> None:
        response = await client.post("/login", headers=headers)
        assert (response.status_code, response.text) == (401, "Missing credentials")
        assert response.headers["www-authenticate"] == 'Basic realm="authapi", charset="UTF-8"'

    @pytest.mark.parametrize(
        "headers",
        [
            basic("nobody@example.com:wrong"),
            basic("ada@example.com:wrong"),
            basic(f"ada@example.com:{'x' * 2000}"),
            basic("ada@example.com:\x00"),
            basic("no address:wrong"),
            basic("no colon"),
            basic(":"),
            basic(""),
            basic(b"\xff:\xfe"),
            {"Authorization": "Basic ***"},
            {"Authorization": "Basic"},
        ],
    )
    async def test_wrong_credentials(
        self, client: httpx.AsyncClient, accounts: Accounts, headers: dict[str, str]
    ) -> None:
        await accounts.register("ada@example.com")
        response = await client.post("/login", headers=headers)
        assert (response.status_code, response.text) == (401, "Invalid credentials")
        assert response.headers["www-authenticate"] == 'Basic realm="authapi", charset="UTF-8"'

    async def test_a_disabled_account_is_not_told_apart(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
    ) -> None:
        account = await accounts.register()
        async with runtime.database.unit_of_work() as db:
            await db.execute(update(User).where(User.id == account.id).values(disabled_at=clock.utc_now()))
        response = await log_in_basic(client, account)
        assert (response.status_code, response.text) == (401, "Invalid credentials")

    async def test_a_second_factor_cannot_be_left_out(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = (await enroll(client, await accounts.register())).account
        response = await log_in_basic(client, account)
        assert response.status_code == 401
        assert response.text.startswith("A second factor is enrolled.")
        assert response.headers["www-authenticate"].startswith("Basic ")

    async def test_passwords_are_utf_8_and_may_hold_colons(self, client: httpx.AsyncClient) -> None:
        password = "Grüße: an alle 7 🗝"
        body = {"email": "ada@example.com", "password": password, "full_name": "Ada"}
        assert (await client.post("/api/auth/register", json=body)).status_code == 201
        response = await client.post("/login", headers=basic(f"ada@example.com:{password}"))
        assert response.status_code == 200

    async def test_it_is_limited(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"auth": "2/minute"}) as app, http_client(app) as client:
            responses = [await client.post("/login") for _ in range(3)]
        assert [r.status_code for r in responses] == [401, 401, 429]
        assert int(responses[-1].headers["retry-after"]) >= 1
        assert responses[-1].headers["content-type"] == "text/plain; charset=utf-8"

    async def test_other_methods_are_refused(self, client: httpx.AsyncClient) -> None:
        for method, path in (("GET", "/login"), ("GET", "/validate"), ("POST", "/verify")):
            assert (await client.request(method, path)).status_code == 405


class TestValidate:
    async def test_claims(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        response = await client.post("/validate", headers=account.headers)
        assert response.status_code == 200
        claims = response.json()
        assert claims["username"] == claims["email"] == account.email
        assert claims["admin"] is False
        assert claims["sub"] == claims["user_id"] == str(account.id)
        assert claims["roles"] == ["user"]
        assert claims["exp"] - claims["iat"] == 3600

    async def test_administrators(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        for account, expected in (
            (await accounts.admin(), True),
            (await accounts.with_roles("auditor"), False),
        ):
            response = await client.post("/validate", headers=account.headers)
            assert response.json()["admin"] is expected

    async def test_a_service_client(self, client: httpx.AsyncClient, runtime: Runtime) -> None:
        response = await client.post("/validate", headers=bearer(clients_token(runtime, scope="orders:read")))
        assert (
            response.json().items()
            >= {
                "username": None,
                "admin": False,
                "sub": "client-7",
                "scope": "orders:read",
            }.items()
        )
        assert "email" not in response.json()

    async def test_without_a_header(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/validate")
        assert (response.status_code, response.text) == (401, "Missing credentials")
        assert response.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "value", ["Bearer", "Bearer x", "Bearer a.b.c", "Basic YTpi", "x", "", "Bearer é"]
    )
    async def test_a_bad_token(self, client: httpx.AsyncClient, value: str) -> None:
        response = await client.post("/validate", headers=[(b"Authorization", value.encode())])
        assert (response.status_code, response.text) == (403, NOT_AUTHORIZED)

    async def test_two_headers(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        valid = (await accounts.register()).headers["Authorization"]
        for headers in ([valid, "Bearer x"], ["Bearer x", valid], [valid, valid]):
            response = await client.post("/validate", headers=[("Authorization", v) for v in headers])
            assert (response.status_code, response.text) == (403, NOT_AUTHORIZED)

    async def test_an_expired_token(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        with time_machine.travel(clock.utc_now().timestamp() + 3700, tick=True):
            response = await client.post("/validate", headers=account.headers)
        assert (response.status_code, response.text) == (403, NOT_AUTHORIZED)

    async def test_a_revoked_token(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        assert (await client.post("/validate", headers=account.headers)).status_code == 200
        await client.post("/api/auth/logout", headers=account.headers)
        response = await client.post("/validate", headers=account.headers)
        assert (response.status_code, response.text) == (403, NOT_AUTHORIZED)

    async def test_out_of_touch(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = await accounts.register()
        monkeypatch.setattr(runtime.revocations, "_max_staleness", UNCONFIRMED)
        for method, path in (("POST", "/validate"), ("GET", "/verify")):
            response = await client.request(method, path, headers=account.headers)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"


class TestVerify:
    async def test_who_it_is(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.admin()
        for method in ("GET", "HEAD"):
            response = await client.request(method, "/verify", headers=account.headers)
            assert (response.status_code, response.content) == (200, b"")
            assert response.headers["x-auth-user-id"] == str(account.id)
            assert response.headers["x-auth-client-id"] == "authapi"
            assert response.headers["x-auth-email"] == account.email
            assert response.headers["x-auth-roles"] == "admin"
            assert "users:read" in response.headers["x-auth-scopes"].split(" ")

    async def test_the_short_way_and_the_long_one_answer_alike(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.admin()
        headers = account.headers | {"X-Request-ID": "the-caller's-own".replace("'", "-")}
        # An unknown token, a condition and a body take the long way.
        unknown = await client.get("/verify", headers=headers)
        long = await client.get("/verify?role=admin", headers=headers)
        with_body = await client.request("GET", "/verify", headers=headers, content=b"x")
        short = await client.get("/verify", headers=headers)
        for other in (unknown, long, with_body):
            assert (short.status_code, sorted(short.headers.multi_items())) == (
                other.status_code,
                sorted(other.headers.multi_items()),
            )

    async def test_names_survive_the_header(self, client: httpx.AsyncClient, runtime: Runtime) -> None:
        email, roles = "zoë%40+tag@exämple.com", ("größte, beste", "a b", "50%")
        token = users_token(runtime, email=email, roles=roles, role=roles[0])
        response = await client.get("/verify", headers=bearer(token))
        shown = response.headers["x-auth-email"]
        assert shown.isascii()
        assert shown.endswith("+tag@ex%C3%A4mple.com")
        assert unquote(shown) == email
        assert tuple(map(unquote, response.headers["x-auth-roles"].split(","))) == roles

    async def test_a_service_client_is_no_user(self, client: httpx.AsyncClient, runtime: Runtime) -> None:
        response = await client.get("/verify", headers=bearer(clients_token(runtime, scope="a b")))
        assert response.status_code == 200
        shown = {name: value for name, value in response.headers.items() if name.startswith("x-auth-")}
        # Empty and not absent: a proxy would let through what the client itself has sent.
        assert shown == {
            "x-auth-user-id": "",
            "x-auth-client-id": "client-7",
            "x-auth-email": "",
            "x-auth-roles": "",
            "x-auth-scopes": "a b",
        }

    @pytest.mark.parametrize(
        ("headers", "challenge"),
        [
            ({}, "Bearer"),
            ({"Authorization": "Bearer x"}, 'Bearer error="invalid_token"'),
            ({"Authorization": "Basic YTpi"}, 'Bearer error="invalid_token"'),
        ],
    )
    async def test_nobody(self, client: httpx.AsyncClient, headers: dict[str, str], challenge: str) -> None:
        response = await client.get("/verify", headers=headers)
        assert (response.status_code, response.content) == (401, b"")
        assert response.headers["www-authenticate"] == challenge
        assert "x-auth-user-id" not in response.headers

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("role=editor", 200),
            ("role=admin,editor", 200),
            ("role=admin", 403),
            ("role=editor&role=admin", 403),
            ("role=editor&role=author", 200),
            ("scope=orders:read", 200),
            ("scope=orders:read+orders:write", 200),
            ("scope=orders:read,orders:delete", 403),
            ("scope=orders:read&scope=orders:delete", 403),
            ("role=editor&scope=orders:delete", 403),
            ("role=Editor", 403),
            ("role=", 400),
            ("scope=", 400),
            ("scope=,", 400),
            ("rol=editor", 400),
            ("role=editor&x", 400),
        ],
    )
    async def test_narrowing(
        self, client: httpx.AsyncClient, runtime: Runtime, query: str, status: int
    ) -> None:
        token = users_token(
            runtime, roles=("editor", "author"), role="editor", scope="orders:read orders:write"
        )
        response = await client.get(f"/verify?{query}", headers=bearer(token))
        assert response.status_code == status
        assert ("x-auth-user-id" in response.headers) == (status == 200)

    async def test_insufficient_scope_says_so(self, client: httpx.AsyncClient, runtime: Runtime) -> None:
        response = await client.get("/verify?scope=a", headers=bearer(users_token(runtime)))
        assert response.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def test_below_the_path_every_method_asks(
        self, client: httpx.AsyncClient, runtime: Runtime, method: str
    ) -> None:
        headers = bearer(users_token(runtime))
        for path in ("/verify/", "/verify/orders/7", "/verify/orders?role=admin&x=1", "/verify/a%2Fb//c"):
            assert (await client.request(method, path, headers=headers)).status_code == 200
            assert (await client.request(method, path)).status_code == 401

    async def test_a_condition_with_a_stray_slash_still_counts(
        self, client: httpx.AsyncClient, runtime: Runtime
    ) -> None:
        # The client's own "/" with a query of his.
        response = await client.get("/verify/?utm=1", headers=bearer(users_token(runtime)))
        assert response.status_code == 200
        response = await client.get("/verify/?role=admin", headers=bearer(users_token(runtime)))
        assert response.status_code == 403

    async def test_a_revoked_token(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        await client.post("/api/auth/logout", headers=account.headers)
        assert (await client.get("/verify", headers=account.headers)).status_code == 401


class TestLimit:
    async def test_it_is_off_by_default(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        response = await client.get("/verify", headers=(await accounts.register()).headers)
        assert "x-ratelimit-limit" not in response.headers

    async def test_it_can_be_set(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"service": "2/minute"}) as app, http_client(app) as client:
            for method, path, expected in (("POST", "/validate", 401), ("GET", "/verify", 401)):
                responses = [await client.request(method, path) for _ in range(3)]
                assert [r.status_code for r in responses] == [expected, expected, 429]
                assert [r.headers["x-ratelimit-remaining"] for r in responses] == ["1", "0", "0"]
                assert int(responses[-1].headers["retry-after"]) >= 1


class TestFromMemory:
    async def test_nothing_is_asked(self, app: FastAPI, accounts: Accounts) -> None:
        """One step of the coroutine gives the whole answer, so nothing was waited for."""
        account = await accounts.register()
        with recorded_statements(app.state.runtime) as executed, system_calls() as called:
            for token in (account.access_token, account.access_token, "Bearer x"):
                for method, path in (("POST", "/validate"), ("GET", "/verify")):
                    answer_in_one_step(app, method, path, token)
        assert executed == []
        assert called == []


def answer_in_one_step(app: FastAPI, method: str, path: str, token: str) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {token}".encode())],
        "client": ("203.0.113.7", 40_000),
        "server": ("127.0.0.1", 5001),
    }
    request = app(scope, receive, send)
    with pytest.raises(StopIteration):
        request.send(None)
    assert sent[0]["status"] in {200, 401, 403}


@contextmanager
def system_calls() -> Iterator[list[str]]:
    """Files, sockets, processes and SQLite databases that this thread opens meanwhile."""
    called: list[str] = []
    here, watching = threading.get_ident(), True

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        # An audit hook can never be removed; it only falls silent.
        if watching and threading.get_ident() == here:
            if name in {"open", "subprocess.Popen", "sqlite3.connect"} or name.startswith("socket."):
                called.append(f"{name} {arguments!r}")

    sys.addaudithook(hook)
    try:
        yield called
    finally:
        watching = False


class TestDocument:
    async def test_the_paths_are_described(self, app: FastAPI) -> None:
        document = app.openapi()
        operations = {
            (path, method): document["paths"][path][method]
            for path, method in (("/login", "post"), ("/validate", "post"), ("/verify", "get"))
        }
        assert [o["operationId"] for o in operations.values()] == ["basic_login", "validate", "verify"]
        assert operations["/login", "post"]["security"] == [{"HTTPBasic": []}]
        assert {"OAuth2PasswordBearer": []} in operations["/verify", "get"]["security"]
        assert {"BearerToken": []} in operations["/verify", "get"]["security"]
        assert set(operations["/validate", "post"]["responses"]) == {"200", "401", "403", "429", "503"}
        assert json.dumps(document) == json.dumps(app.openapi())

    async def test_the_claims_are_those_that_are_sent(self, app: FastAPI, accounts: Accounts) -> None:
        schema = app.openapi()["components"]["schemas"]["ValidatedClaims"]
        async with http_client(app) as client:
            response = await client.post("/validate", headers=(await accounts.register()).headers)
        assert set(response.json()) == set(schema["properties"]) == set(schema["examples"][0])
        assert set(schema["required"]) <= set(response.json())
