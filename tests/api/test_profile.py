"""The caller's own profile over HTTP, on both databases."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update

from authapi import clock
from authapi.models import AuditEvent, Base, User, UserSession
from authapi.repositories import users
from authapi.runtime import Runtime
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Account, Accounts

pytestmark = pytest.mark.one_database

PROFILE = "/api/profile"
ME = "/api/auth/me"
COMPLETE = {"full_name": "Ada King", "phone": "+44 20 7946", "locale": "de", "discoverable": True}
METHODS: list[tuple[str, dict[str, Any] | None]] = [
    ("GET", None),
    ("PUT", COMPLETE),
    ("PATCH", {"full_name": "Ada King"}),
    ("DELETE", {"password": PASSWORD}),
]


async def audited(runtime: Runtime, account: Account) -> list[AuditEvent]:
    """What happened to an account, the oldest first."""
    async with runtime.database.unit_of_work() as db:
        events = select(AuditEvent).where(AuditEvent.subject_id == account.id).order_by(AuditEvent.id)
        return list(await db.scalars(events))


async def disable(runtime: Runtime, account: Account) -> None:
    async with runtime.database.unit_of_work() as db:
        await db.execute(update(User).where(User.id == account.id).values(disabled_at=clock.utc_now()))


async def leave(client: httpx.AsyncClient, account: Account, password: str = PASSWORD) -> httpx.Response:
    return await client.request("DELETE", PROFILE, headers=account.headers, json={"password": password})


class TestRead:
    async def test_a_new_profile(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register("Ada@Example.com", full_name="Ada Lovelace")
        response = await client.get(PROFILE, headers=account.headers)
        assert response.status_code == 200
        data = response.json()["data"]
        assert data.pop("created_at").endswith("Z")
        assert data.pop("updated_at").endswith("Z")
        assert data == {
            "id": str(account.id),
            "email": "Ada@Example.com",
            "email_verified": False,
            "full_name": "Ada Lovelace",
            "phone": None,
            "locale": "en",
            "discoverable": False,
        }

    async def test_the_account_of_the_database_not_of_the_token(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
    ) -> None:
        account = await accounts.register()
        async with runtime.database.unit_of_work() as db:
            user = await users.find_by_id(db, account.id)
            assert user is not None
            user.email_verified_at = clock.utc_now()
            user.email = "new@example.com"
        data = (await client.get(PROFILE, headers=account.headers)).json()["data"]
        assert data["email_verified"] is True
        assert data["email"] == "new@example.com"


class TestCredentials:
    @pytest.mark.parametrize(("method", "body"), METHODS)
    async def test_missing(self, client: httpx.AsyncClient, method: str, body: Any) -> None:
        response = await client.request(method, PROFILE, json=body)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "not_authenticated"
        assert response.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(("method", "body"), METHODS)
    async def test_invalid(self, client: httpx.AsyncClient, method: str, body: Any) -> None:
        response = await client.request(method, PROFILE, json=body, headers={"Authorization": "Bearer x.y.z"})
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_token"

    @pytest.mark.parametrize(("method", "body"), METHODS)
    async def test_of_a_disabled_account(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime, method: str, body: Any
    ) -> None:
        account = await accounts.register()
        await disable(runtime, account)
        response = await client.request(method, PROFILE, json=body, headers=account.headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_token"

    @pytest.mark.parametrize(("method", "body"), METHODS)
    async def test_of_a_deleted_account(
        self, client: httpx.AsyncClient, accounts: Accounts, method: str, body: Any
    ) -> None:
        account = await accounts.register()
        assert (await leave(client, account)).status_code == 200
        # Somebody else may take the address; the old token must not speak for him (ASVS 10.3.3).
        twin = await accounts.register(account.email)
        response = await client.request(method, PROFILE, json=body, headers=account.headers)
        assert response.status_code == 401
        assert (await client.get(PROFILE, headers=twin.headers)).status_code == 200


class TestReplace:
    async def test_every_field(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        before = (await client.get(PROFILE, headers=account.headers)).json()["data"]
        response = await client.put(PROFILE, headers=account.headers, json=COMPLETE)
        assert response.status_code == 200
        data = response.json()["data"]
        assert {name: data[name] for name in COMPLETE} == COMPLETE
        assert data["updated_at"] > before["updated_at"]
        assert (await client.get(PROFILE, headers=account.headers)).json()["data"] == data

    async def test_null_removes_the_phone(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        await client.put(PROFILE, headers=account.headers, json=COMPLETE)
        response = await client.put(PROFILE, headers=account.headers, json=COMPLETE | {"phone": None})
        assert response.json()["data"]["phone"] is None

    @pytest.mark.parametrize("missing", sorted(COMPLETE))
    async def test_a_missing_field(self, client: httpx.AsyncClient, accounts: Accounts, missing: str) -> None:
        account = await accounts.register()
        body = {name: value for name, value in COMPLETE.items() if name != missing}
        response = await client.put(PROFILE, headers=account.headers, json=body)
        assert response.status_code == 422
        fields = response.json()["error"]["fields"]
        assert [(field["loc"], field["code"]) for field in fields] == [(["body", missing], "required")]


class TestUpdate:
    @pytest.mark.parametrize(("name", "value"), [*COMPLETE.items(), ("phone", None)])
    async def test_one_field_leaves_the_others(
        self, client: httpx.AsyncClient, accounts: Accounts, name: str, value: object
    ) -> None:
        account = await accounts.register()
        start = {"full_name": "Ada", "phone": "112", "locale": "en", "discoverable": False}
        before = (await client.put(PROFILE, headers=account.headers, json=start)).json()["data"]
        response = await client.patch(PROFILE, headers=account.headers, json={name: value})
        assert response.status_code == 200
        after = response.json()["data"]
        assert after.pop("updated_at") > before.pop("updated_at")
        assert after == before | {name: value}

    async def test_nothing(self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime) -> None:
        account = await accounts.register()
        before = (await client.get(PROFILE, headers=account.headers)).json()["data"]
        response = await client.patch(PROFILE, headers=account.headers, json={})
        assert response.status_code == 200
        assert response.json()["data"] == before
        assert "user.profile.changed" not in [event.action for event in await audited(runtime, account)]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"full_name": None}, "wrong_type"),
            ({"locale": None}, "not_allowed"),
            ({"discoverable": None}, "wrong_type"),
            ({"full_name": ""}, "too_short"),
            ({"full_name": "   "}, "too_short"),
            ({"full_name": "x" * 201}, "too_long"),
            ({"full_name": "a\nb"}, "wrong_format"),
            ({"phone": "12"}, "wrong_format"),
            ({"phone": "call me"}, "wrong_format"),
            ({"locale": "xx"}, "not_allowed"),
            ({"locale": "EN"}, "not_allowed"),
            ({"discoverable": 1}, "wrong_type"),
            ({"discoverable": "true"}, "wrong_type"),
        ],
    )
    async def test_a_wrong_value(
        self, client: httpx.AsyncClient, accounts: Accounts, body: dict[str, Any], code: str
    ) -> None:
        account = await accounts.register()
        response = await client.patch(PROFILE, headers=account.headers, json=body)
        assert response.status_code == 422, response.text
        assert [field["code"] for field in response.json()["error"]["fields"]] == [code]

    async def test_changes_are_on_record_by_name_only(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
    ) -> None:
        account = await accounts.register(full_name="Ada")
        await client.patch(
            PROFILE, headers=account.headers, json={"full_name": "Ada", "phone": "112", "locale": "hi"}
        )
        event = (await audited(runtime, account))[-1]
        assert event.action == "user.profile.changed"
        assert event.actor_id == account.id
        assert event.details == {"fields": ["locale", "phone"]}

    async def test_two_at_once_on_different_fields_both_last(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        changes: list[dict[str, Any]] = [{"full_name": "Ada King"}, {"phone": "112"}, {"locale": "fr"}]
        await asyncio.gather(
            *(client.patch(PROFILE, headers=account.headers, json=change) for change in changes)
        )
        data = (await client.get(PROFILE, headers=account.headers)).json()["data"]
        assert (data["full_name"], data["phone"], data["locale"]) == ("Ada King", "112", "fr")


class TestForeignFields:
    """ASVS 8.2.3: what a user may not set about himself is refused by name and unchanged."""

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("id", "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f"),
            ("user_id", "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f"),
            ("email", "admin@example.com"),
            ("email_canonical", "admin@example.com"),
            ("email_verified", True),
            ("email_verified_at", "2026-01-01T00:00:00Z"),
            ("role", "admin"),
            ("roles", ["admin"]),
            ("is_admin", True),
            ("permissions", ["users:write"]),
            ("status", "active"),
            ("disabled_at", None),
            ("tokens_not_before", None),
            ("password", PASSWORD),
            ("password_hash", "x"),
            ("created_at", "2026-01-01T00:00:00Z"),
            ("__class__", {}),
        ],
    )
    async def test_refused(
        self, client: httpx.AsyncClient, accounts: Accounts, method: str, name: str, value: object
    ) -> None:
        account = await accounts.register()
        before = (await client.get(PROFILE, headers=account.headers)).json()["data"]
        response = await client.request(
            method, PROFILE, headers=account.headers, json=COMPLETE | {name: value}
        )
        assert response.status_code == 422
        fields = response.json()["error"]["fields"]
        assert [(field["loc"], field["code"]) for field in fields] == [(["body", name], "unknown_field")]
        assert (await client.get(PROFILE, headers=account.headers)).json()["data"] == before
        me = (await client.get(ME, headers=(await accounts.log_in(account)).headers)).json()["data"]
        assert me["roles"] == ["user"]


class TestDelete:
    async def test_nobody_can_use_it_and_the_trail_says_why(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
    ) -> None:
        other = await accounts.register()
        account = await accounts.log_in(await accounts.register())
        response = await leave(client, account)
        assert response.status_code == 200
        assert response.json() == {"success": True, "message": "Your account is deleted.", "data": None}
        async with runtime.database.unit_of_work() as db:
            live = select(func.count()).where(UserSession.revoked_at.is_(None))
            assert await db.scalar(live) == 1, "the other user's"
        event = (await audited(runtime, account))[-1]
        assert (event.action, event.outcome, event.actor_id) == ("user.deleted", "success", account.id)
        assert (await client.get(PROFILE, headers=other.headers)).status_code == 200
        login = {"email": account.email, "password": PASSWORD}
        assert (await client.post("/api/auth/login", json=login)).status_code == 401

    async def test_a_wrong_password_deletes_nothing_and_is_on_record(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
    ) -> None:
        account = await accounts.register()
        response = await leave(client, account, "wrong")
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_credentials"
        assert (await client.get(PROFILE, headers=account.headers)).status_code == 200
        refused = [event for event in await audited(runtime, account) if event.outcome == "failure"]
        assert [(event.action, event.reason) for event in refused] == [
            ("user.deletion.refused", "wrong_password")
        ]

    async def test_another_users_password_is_wrong(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        body = {"email": "eve@example.com", "password": "another Horse 8 pencil", "full_name": "Eve"}
        await client.post("/api/auth/register", json=body)
        assert (await leave(client, account, body["password"])).status_code == 401

    @pytest.mark.parametrize("body", [None, {}, {"password": None}, {"password": ""}, {"password": 1}])
    async def test_without_a_password(
        self, client: httpx.AsyncClient, accounts: Accounts, body: dict[str, Any] | None
    ) -> None:
        account = await accounts.register()
        response = await client.request("DELETE", PROFILE, headers=account.headers, json=body)
        assert response.status_code == 422
        assert (await client.get(PROFILE, headers=account.headers)).status_code == 200

    async def test_twice_at_once_deletes_once(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        responses = await asyncio.gather(*(leave(client, account) for _ in range(5)))
        assert sorted(response.status_code for response in responses) == [200] + [401] * 4

    async def test_while_the_profile_is_changed(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        for number in range(5):
            account = await accounts.register()
            change = client.patch(PROFILE, headers=account.headers, json={"full_name": f"Ada {number}"})
            deletion, changed = await asyncio.gather(leave(client, account), change)
            assert deletion.status_code == 200
            assert changed.status_code in {200, 401}

    async def test_an_admin_leaves_while_another_stays(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        first, last = await accounts.admin(), await accounts.admin()
        assert (await leave(client, first)).status_code == 200
        response = await leave(client, last)
        assert response.status_code == 409
        assert response.json()["error"]["code"] == "last_admin"
        assert (await client.get(PROFILE, headers=last.headers)).status_code == 200

    async def test_a_disabled_admin_does_not_count(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
    ) -> None:
        disabled, last = await accounts.admin(), await accounts.admin()
        await disable(runtime, disabled)
        assert (await leave(client, last)).status_code == 409

    async def test_all_admins_at_once_leave_one(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        admins = [await accounts.admin() for _ in range(4)]
        responses = await asyncio.gather(*(leave(client, admin) for admin in admins))
        assert sorted(response.status_code for response in responses) == [200] * 3 + [409]


class TestLimits:
    async def test_deleting_is_limited_like_a_login(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"auth": "3/minute"}) as app, http_client(app) as client:
            account = await Accounts(client, app.state.runtime).register()
            statuses = [(await leave(client, account, "wrong")).status_code for _ in range(4)]
            assert statuses == [401, 401, 401, 429]

    async def test_reading_is_limited_per_user(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"user": "2/minute"}) as app, http_client(app) as client:
            accounts = Accounts(client, app.state.runtime)
            ann, bob = await accounts.register(), await accounts.register()
            for expected in (200, 200, 429):
                assert (await client.get(PROFILE, headers=ann.headers)).status_code == expected
            assert (await client.get(PROFILE, headers=bob.headers)).status_code == 200


def test_no_field_of_the_profile_is_a_secret(shared_app: FastAPI) -> None:
    schema = shared_app.openapi()["components"]["schemas"]["ProfileResponse"]
    stored = set(Base.metadata.tables["users"].columns.keys())
    assert set(schema["properties"]) - stored == {"email_verified"}
    assert stored - set(schema["properties"]) >= {"email_canonical", "disabled_at"}
