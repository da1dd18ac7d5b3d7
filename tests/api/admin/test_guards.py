"""Who gets into the administration: every route against every kind of caller."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from authapi.rate_limit import limits
from tests.api.admin.support import (
    ADMIN,
    EVENTS,
    INVITATIONS,
    NOBODY,
    PERMISSIONS,
    ROLES,
    STATS,
    USERS,
    Caller,
)
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Accounts

pytestmark = pytest.mark.one_database

READS = [
    (USERS, "users:read"),
    (f"{USERS}/{NOBODY}", "users:read"),
    (ROLES, "roles:read"),
    (f"{ROLES}/{NOBODY}", "roles:read"),
    (PERMISSIONS, "roles:read"),
    (f"{PERMISSIONS}/{NOBODY}", "roles:read"),
    (EVENTS, "audit:read"),
    (STATS, "stats:read"),
]
NEW_USER = {"email": "new@example.com", "full_name": "New", "password": PASSWORD}
WRITES: list[tuple[str, str, dict[str, Any] | None, str | None]] = [
    ("POST", USERS, NEW_USER, "users:write"),
    ("PATCH", f"{USERS}/{NOBODY}", {"full_name": "X"}, "users:write"),
    ("DELETE", f"{USERS}/{NOBODY}", None, "users:write"),
    ("POST", f"{USERS}/{NOBODY}/disable", None, "users:write"),
    ("POST", f"{USERS}/{NOBODY}/enable", None, "users:write"),
    ("PUT", f"{USERS}/{NOBODY}/roles", {"roles": ["user"]}, "users:write"),
    *(
        ("POST", f"{USERS}/{NOBODY}/{act}", None, "users:write")
        for act in ("unlock", "logout", "password-reset", "verify-email", "mfa-reset")
    ),
    ("POST", INVITATIONS, {"email": "guest@example.com"}, "users:write"),
    ("POST", ROLES, {"name": "support"}, "roles:write"),
    ("PATCH", f"{ROLES}/{NOBODY}", {"rank": 30}, "roles:write"),
    ("DELETE", f"{ROLES}/{NOBODY}", None, "roles:write"),
    # None: administrators only.
    ("POST", PERMISSIONS, {"name": "invoices:read"}, None),
    ("PATCH", f"{PERMISSIONS}/{NOBODY}", {"description": "X"}, None),
    ("DELETE", f"{PERMISSIONS}/{NOBODY}", None, None),
]
ALL = [("GET", path, None) for path, _ in READS] + [(method, path, body) for method, path, body, _ in WRITES]


def operations(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation of the administration in the API document."""
    for path, item in app.openapi()["paths"].items():
        if path.startswith(ADMIN):
            for method, operation in item.items():
                yield method.upper(), path, operation


class TestEveryRoute:
    def test_all_are_here(self, shared_app: FastAPI) -> None:
        def shape(path: str) -> str:
            return path.replace(NOBODY, "{}")

        documented = {
            (
                method,
                path.replace("{user_id}", "{}").replace("{role_id}", "{}").replace("{permission_id}", "{}"),
            )
            for method, path, _ in operations(shared_app)
        }
        assert documented == {(method, shape(path)) for method, path, _ in ALL}

    @pytest.mark.parametrize(("method", "path", "body"), ALL)
    async def test_without_a_token(
        self, client: httpx.AsyncClient, method: str, path: str, body: Any
    ) -> None:
        response = await client.request(method, path, json=body)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "not_authenticated"

    @pytest.mark.parametrize(("method", "path", "body"), ALL)
    async def test_with_a_bad_token(
        self, client: httpx.AsyncClient, method: str, path: str, body: Any
    ) -> None:
        headers = {"Authorization": "Bearer x.y.z"}
        response = await client.request(method, path, json=body, headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_token"

    @pytest.mark.parametrize(("method", "path", "body"), ALL)
    async def test_as_an_ordinary_user(
        self, client: httpx.AsyncClient, accounts: Accounts, method: str, path: str, body: Any
    ) -> None:
        user = Caller(client, await accounts.register())
        response = await user.call(method, path, json=body)
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "permission_denied"

    async def test_a_refusal_is_on_record(
        self, accounts: Accounts, client: httpx.AsyncClient, admin: Caller
    ) -> None:
        user = Caller(client, await accounts.register())
        await user.call("GET", USERS)
        (event,) = await admin.read(EVENTS, action="access.denied")
        assert (event["actor_id"], event["reason"]) == (str(user.account.id), "missing_permission")

    @pytest.mark.parametrize(("method", "path", "body"), ALL)
    async def test_an_administrator_gets_in(self, admin: Caller, method: str, path: str, body: Any) -> None:
        response = await admin.call(method, path, json=body)
        expected = 404 if NOBODY in path else 202 if path == INVITATIONS else 200
        assert response.status_code == expected, response.text

    @pytest.mark.parametrize(("path", "_permission"), READS)
    async def test_an_auditor_reads(self, auditor: Caller, path: str, _permission: str) -> None:
        response = await auditor.call("GET", path)
        assert response.status_code == (404 if NOBODY in path else 200)

    @pytest.mark.parametrize(("method", "path", "body", "_permission"), WRITES)
    async def test_an_auditor_does_not_write(
        self, auditor: Caller, method: str, path: str, body: Any, _permission: str | None
    ) -> None:
        response = await auditor.call(method, path, json=body)
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "permission_denied"

    @pytest.mark.parametrize(
        ("method", "path", "body"), [entry for entry in ALL if "{" not in entry[1] and NOBODY in entry[1]]
    )
    async def test_an_id_that_is_none(self, admin: Caller, method: str, path: str, body: Any) -> None:
        for garbage in ("1", "..", "me", "01981d5a-6c0e-7cc3-98c4-dc0c0c07398g", "%27--", "x" * 300):
            response = await admin.call(method, path.replace(NOBODY, garbage), json=body)
            # Some clients resolve "..", which leads to another path.
            assert response.status_code == 422 or garbage == "..", response.text

    @pytest.mark.parametrize(("path", "_permission"), READS)
    async def test_a_parameter_that_is_none(self, admin: Caller, path: str, _permission: str) -> None:
        response = await admin.call("GET", path, params={"offset": "1"})
        assert response.status_code == (422 if path in {USERS, EVENTS} else 404 if NOBODY in path else 200)

    @pytest.mark.parametrize(
        ("method", "path", "body", "_permission"), [entry for entry in WRITES if entry[2] is not None]
    )
    async def test_a_field_that_is_none(
        self, admin: Caller, method: str, path: str, body: dict[str, Any], _permission: str | None
    ) -> None:
        for name in ("id", "is_built_in", "password_hash", "disabled_at", "created_at"):
            response = await admin.call(method, path, json=body | {name: None})
            assert response.status_code == 422
            assert [field["code"] for field in response.json()["error"]["fields"]] == ["unknown_field"]


class TestFreshRights:
    """What counts is the database's state, not the token's (ASVS 8.3.2)."""

    async def test_a_demoted_administrator(self, admin: Caller, accounts: Accounts) -> None:
        await accounts.assign_roles(admin.account, ["user"])
        assert (await admin.call("GET", USERS)).status_code == 403

    async def test_a_token_that_is_narrowed(self, client: httpx.AsyncClient, admin: Caller) -> None:
        account = admin.account
        form = {"grant_type": "password", "username": account.email, "password": account.password}
        token = await client.post("/api/auth/token", data=form | {"scope": "users:read users:write"})
        headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
        assert (await client.get(USERS, headers=headers)).status_code == 200
        refused = await client.get(ROLES, headers=headers)
        assert refused.json()["error"]["code"] == "insufficient_scope"
        refused = await client.post(PERMISSIONS, headers=headers, json={"name": "invoices:read"})
        assert refused.json()["error"]["code"] == "insufficient_scope"
        # Nor does it hand on what it cannot do itself.
        own = f"{USERS}/{account.id}"
        for method, path, body, code in (
            ("POST", USERS, NEW_USER | {"roles": ["admin"]}, "cannot_grant"),
            ("POST", USERS, NEW_USER | {"roles": ["auditor"]}, "cannot_grant"),
            ("PUT", f"{own}/roles", {"roles": ["user"]}, "cannot_manage_user"),
        ):
            response = await client.request(method, path, headers=headers, json=body)
            assert response.status_code == 403
            assert response.json()["error"]["code"] == code


class TestAddresses:
    @pytest.mark.parametrize(
        ("allowed", "address", "status"),
        [
            (["203.0.113.0/24"], "203.0.113.7", 200),
            (["198.51.100.0/24", "203.0.113.7"], "203.0.113.7", 200),
            (["203.0.113.0/24"], "::ffff:203.0.113.7", 200),
            (["2001:db8::/32"], "2001:db8::1", 200),
            (["198.51.100.0/24"], "203.0.113.7", 403),
            (["203.0.113.0/24"], "2001:db8::1", 403),
            # A unix socket has no address.
            (["0.0.0.0/0", "::/0"], "", 403),
        ],
    )
    async def test_only_listed_networks(
        self, make_app: MakeApp, allowed: list[str], address: str, status: int
    ) -> None:
        async with (
            make_app(admin={"allowed_ips": allowed}) as app,
            http_client(app, address=address) as client,
        ):
            admin = Caller(client, await Accounts(client, app.state.runtime).admin())
            response = await admin.call("GET", USERS)
            assert response.status_code == status
            if status == 403:
                assert response.json()["error"]["code"] == "address_not_allowed"

    @pytest.mark.parametrize(("method", "path", "body"), ALL)
    async def test_checked_before_the_token(self, app: FastAPI, method: str, path: str, body: Any) -> None:
        runtime = app.state.runtime
        settings = runtime.settings
        guarded = settings.model_copy(update={"admin": type(settings.admin)(allowed_ips=["198.51.100.0/24"])})
        object.__setattr__(runtime, "settings", guarded)
        try:
            async with http_client(app) as client:
                for headers in ({}, {"Authorization": "Bearer x"}, {"X-Forwarded-For": "198.51.100.1"}):
                    response = await client.request(method, path, json=body, headers=headers)
                    assert response.json()["error"]["code"] == "address_not_allowed"
        finally:
            object.__setattr__(runtime, "settings", settings)


class TestDocument:
    def test_each_operation_names_its_scope(self, shared_app: FastAPI) -> None:
        needed: dict[tuple[str, str], str | None] = {("GET", path): scope for path, scope in READS}
        needed |= {(method, path): scope for method, path, _, scope in WRITES}
        shapes = {
            (method, path.replace(NOBODY, "{}")): [scope] if scope else []
            for (method, path), scope in needed.items()
        }
        for method, path, operation in operations(shared_app):
            generic = (
                path.replace("{user_id}", "{}").replace("{role_id}", "{}").replace("{permission_id}", "{}")
            )
            schemes = [
                scopes["OAuth2PasswordBearer"]
                for scopes in operation["security"]
                if "OAuth2PasswordBearer" in scopes
            ]
            assert schemes == [shapes[method, generic]], (method, path)

    def test_each_operation_is_described(self, shared_app: FastAPI) -> None:
        for method, path, operation in operations(shared_app):
            assert operation["tags"] == ["admin"], (method, path)
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            assert {"400", "401", "403", "422", "429", "503"} <= operation["responses"].keys(), (method, path)

    def test_each_operation_is_limited_per_user(self, shared_app: FastAPI) -> None:
        routes = [context.original_route for context in iter_route_contexts(shared_app.routes)]
        modules = {
            route.name: limits.limit_name(route.endpoint)
            for route in routes
            if isinstance(route, APIRoute) and route.endpoint.__module__.startswith("authapi.api.admin")
        }
        assert len(modules) == len(ALL)
        assert set(modules.values()) == {"admin"}
