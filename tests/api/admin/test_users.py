"""Administration of users: making, reading, changing, locking out, deleting them."""

from typing import Any

import httpx
import pytest

from authapi import clock
from authapi.models import Base
from authapi.repositories import users
from authapi.runtime import Runtime
from tests.api.admin.support import EVENTS, NOBODY, USERS, Caller
from tests.support.accounts import PASSWORD, Account, Accounts

pytestmark = pytest.mark.one_database

LOGIN = "/api/auth/login"
NEW = {"email": "Grace@Example.com", "full_name": "Grace Hopper", "password": PASSWORD}


def path(account: Account, *rest: str) -> str:
    return "/".join([USERS, str(account.id), *rest])


async def verify_email(runtime: Runtime, account: Account) -> None:
    async with runtime.database.unit_of_work() as db:
        user = await users.find_by_id(db, account.id)
        assert user is not None
        user.email_verified_at = clock.utc_now()


class TestCreate:
    async def test_a_user_who_can_log_in(self, client: httpx.AsyncClient, admin: Caller) -> None:
        data = await admin.send("POST", USERS, NEW | {"phone": "+44 20 7946"})
        assert data["created_at"].endswith("Z")
        assert {name: data[name] for name in data if name not in {"id", "created_at", "updated_at"}} == {
            "email": "Grace@Example.com",
            "email_verified": False,
            "full_name": "Grace Hopper",
            "phone": "+44 20 7946",
            "locale": "en",
            "discoverable": False,
            "status": "active",
            "role": "user",
            "roles": ["user"],
            "permissions": [],
            "disabled_at": None,
        }
        response = await client.post(LOGIN, json={"email": "grace@example.com", "password": PASSWORD})
        assert response.json()["data"]["user_id"] == data["id"]

    async def test_with_roles_and_a_verified_address(self, admin: Caller) -> None:
        data = await admin.send("POST", USERS, NEW | {"roles": ["user", "admin"], "email_verified": True})
        assert data["roles"] == ["admin", "user"]
        assert data["role"] == "admin"
        assert data["email_verified"] is True
        assert "users:write" in data["permissions"]

    async def test_without_roles(self, admin: Caller) -> None:
        data = await admin.send("POST", USERS, NEW | {"roles": []})
        assert (data["role"], data["roles"], data["permissions"]) == (None, [], [])

    async def test_a_taken_address(self, admin: Caller) -> None:
        await admin.send("POST", USERS, NEW)
        error = await admin.send("POST", USERS, NEW | {"email": "GRACE@example.com"}, expect=409)
        assert error["code"] == "email_taken"

    @pytest.mark.parametrize(
        ("body", "code", "field"),
        [
            ({"email": "no address"}, "invalid_email", ["body", "email"]),
            ({"password": "short"}, "weak_password", ["body", "password"]),
            ({"password": "grace@example.com"}, "weak_password", ["body", "password"]),
            ({"roles": ["user", "nonsense"]}, "unknown_role", ["body", "roles", 1]),
            ({"roles": "user"}, "validation_failed", ["body", "roles"]),
            ({"roles": ["user"] * 51}, "validation_failed", ["body", "roles"]),
            ({"roles": None}, "validation_failed", ["body", "roles"]),
            ({"email_verified": "yes"}, "validation_failed", ["body", "email_verified"]),
            ({"full_name": " "}, "validation_failed", ["body", "full_name"]),
            ({"role": "admin"}, "validation_failed", ["body", "role"]),
            ({"email_canonical": "x@example.com"}, "validation_failed", ["body", "email_canonical"]),
        ],
    )
    async def test_a_wrong_value(
        self, admin: Caller, body: dict[str, Any], code: str, field: list[str]
    ) -> None:
        error = await admin.send("POST", USERS, NEW | body, expect=422)
        assert error["code"] == code
        assert error["fields"][0]["loc"] == field
        assert PASSWORD not in str(error)
        assert await admin.read(USERS, q="grace") == []

    async def test_on_record(self, admin: Caller) -> None:
        data = await admin.send("POST", USERS, NEW)
        (event,) = await admin.read(EVENTS, action="user.created")
        assert event["actor_id"] == str(admin.account.id)
        assert event["subject_id"] == data["id"]
        assert event["details"] == {"roles": ["user"]}
        assert event["ip"] == "203.0.113.7"


class TestRead:
    async def test_one(self, admin: Caller, accounts: Accounts) -> None:
        account = await accounts.register("Ada@Example.com", full_name="Ada")
        data = await admin.read(path(account))
        assert (data["id"], data["email"], data["status"]) == (str(account.id), "Ada@Example.com", "active")
        (event,) = await admin.read(EVENTS, action="admin.user.read")
        assert event["subject_id"] == str(account.id)

    async def test_no_secret_is_shown(self, admin: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        data = await admin.read(path(account))
        stored = set(Base.metadata.tables["users"].columns.keys())
        assert set(data) - stored == {"email_verified", "status", "role", "roles", "permissions"}
        assert PASSWORD not in str(data)

    async def test_a_deleted_one_that_is_not_erased_yet(
        self, admin: Caller, accounts: Accounts, runtime: Runtime
    ) -> None:
        account = await accounts.register()
        async with runtime.database.unit_of_work() as db:
            user = await users.find_by_id(db, account.id)
            assert user is not None
            user.deleted_at = clock.utc_now()
        assert (await admin.read(path(account)))["status"] == "deleted"
        assert [user["id"] for user in await admin.read(USERS, status="deleted")] == [str(account.id)]
        assert (await admin.send("POST", path(account, "disable"), expect=404))["code"] == "user_not_found"
        assert str(account.id) not in [user["id"] for user in await admin.read(USERS)]
        assert (await admin.send("POST", path(account, "enable")))["status"] == "active"
        assert str(account.id) in [user["id"] for user in await admin.read(USERS)]


class TestUpdate:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("email", "New@Example.com"),
            ("full_name", "Ada King"),
            ("phone", "112"),
            ("phone", None),
            ("locale", "de"),
            ("discoverable", True),
        ],
    )
    async def test_one_field_leaves_the_others(
        self, admin: Caller, accounts: Accounts, name: str, value: object
    ) -> None:
        account = await accounts.register()
        await admin.send("PATCH", path(account), {"phone": "110"})
        before = await admin.read(path(account))
        after = await admin.send("PATCH", path(account), {name: value})
        assert after["updated_at"] > before["updated_at"]
        assert after == before | {name: value, "updated_at": after["updated_at"]}
        assert await admin.read(path(account)) == after
        event = (await admin.read(EVENTS, action="user.updated", subject_id=str(account.id)))[0]
        assert event["details"] == {"fields": [name]}

    async def test_nothing(self, admin: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        before = await admin.read(path(account))
        assert await admin.send("PATCH", path(account), {}) == before
        assert await admin.send("PATCH", path(account), {"full_name": before["full_name"]}) == before
        assert await admin.read(EVENTS, action="user.updated") == []

    async def test_another_address_is_not_verified(
        self, client: httpx.AsyncClient, admin: Caller, accounts: Accounts, runtime: Runtime
    ) -> None:
        account = await accounts.register("ada@example.com")
        await verify_email(runtime, account)
        same = await admin.send("PATCH", path(account), {"email": "ADA@example.com"})
        assert (same["email"], same["email_verified"]) == ("ADA@example.com", True)
        other = await admin.send("PATCH", path(account), {"email": "ada@example.org"})
        assert other["email_verified"] is False
        for email, status in (("ada@example.com", 401), ("ADA@example.org", 200)):
            response = await client.post(LOGIN, json={"email": email, "password": PASSWORD})
            assert response.status_code == status

    async def test_not_ones_own_address(self, admin: Caller) -> None:
        """With a password reset there, a stolen token would get around the password and the second factor."""
        own = f"{USERS}/{admin.account.id}"
        error = await admin.send("PATCH", own, {"email": "me@example.net"}, expect=403)
        assert error["code"] == "cannot_manage_user"
        same = {"email": admin.account.email.upper(), "full_name": "Ada"}
        assert (await admin.send("PATCH", own, same))["full_name"] == "Ada"

    async def test_a_taken_address(self, admin: Caller, accounts: Accounts) -> None:
        await accounts.register("ada@example.com")
        account = await accounts.register("bob@example.com")
        error = await admin.send("PATCH", path(account), {"email": "Ada@Example.com"}, expect=409)
        assert error["code"] == "email_taken"
        assert (await admin.read(path(account)))["email"] == "bob@example.com"

    async def test_the_name_is_found_under_the_new_spelling(self, admin: Caller, accounts: Accounts) -> None:
        account = await accounts.register(full_name="Grace Hopper")
        await admin.send("PATCH", path(account), {"full_name": "Élodie"})
        assert await admin.read(USERS, q="grace") == []
        assert len(await admin.read(USERS, q="éLO")) == 1

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"email": None}, "wrong_type"),
            ({"email": "x"}, "too_short"),
            ({"full_name": None}, "wrong_type"),
            ({"locale": "xx"}, "not_allowed"),
            ({"discoverable": "true"}, "wrong_type"),
            ({"password": PASSWORD}, "unknown_field"),
            ({"password_hash": "x"}, "unknown_field"),
            ({"roles": ["admin"]}, "unknown_field"),
            ({"role": "admin"}, "unknown_field"),
            ({"email_verified": True}, "unknown_field"),
            ({"email_verified_at": None}, "unknown_field"),
            ({"disabled_at": None}, "unknown_field"),
            ({"status": "disabled"}, "unknown_field"),
            ({"id": NOBODY}, "unknown_field"),
            ({"full_name_key": "x"}, "unknown_field"),
        ],
    )
    async def test_a_wrong_value(
        self, admin: Caller, accounts: Accounts, body: dict[str, Any], code: str
    ) -> None:
        account = await accounts.register()
        before = await admin.read(path(account))
        error = await admin.send("PATCH", path(account), {"full_name": "X"} | body, expect=422)
        assert [field["code"] for field in error["fields"]] == [code]
        assert await admin.read(path(account)) == before

    async def test_a_malformed_address(self, admin: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        error = await admin.send("PATCH", path(account), {"email": "no address"}, expect=422)
        assert error["code"] == "invalid_email"


class TestDisable:
    async def test_locks_out_until_enabled(
        self, client: httpx.AsyncClient, admin: Caller, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        login = {"email": account.email, "password": PASSWORD}
        disabled = await admin.send("POST", path(account, "disable"))
        assert disabled["status"] == "disabled"
        assert disabled["disabled_at"].endswith("Z")
        assert (await client.post(LOGIN, json=login)).json()["error"]["code"] == "account_disabled"
        # By the token alone, without a look at the database.
        assert (await client.get("/api/auth/me", headers=account.headers)).status_code == 401
        enabled = await admin.send("POST", path(account, "enable"))
        assert (enabled["status"], enabled["disabled_at"]) == ("active", None)
        assert (await client.post(LOGIN, json=login)).status_code == 200

    async def test_twice_is_once(self, admin: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        first = await admin.send("POST", path(account, "disable"))
        assert await admin.send("POST", path(account, "disable")) == first
        await admin.send("POST", path(account, "enable"))
        await admin.send("POST", path(account, "enable"))
        actions = [event["action"] for event in await admin.read(EVENTS, subject_id=str(account.id))]
        assert (actions.count("user.disabled"), actions.count("user.enabled")) == (1, 1)


class TestDelete:
    async def test_nothing_but_the_trail_is_left(
        self, client: httpx.AsyncClient, admin: Caller, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        assert await admin.send("DELETE", path(account)) is None
        assert (await admin.send("DELETE", path(account), expect=404))["code"] == "user_not_found"
        # By the token alone, without a look at the database.
        assert (await client.get("/api/auth/me", headers=account.headers)).status_code == 401
        (event,) = await admin.read(EVENTS, action="user.deleted")
        assert (event["actor_id"], event["subject_id"]) == (str(admin.account.id), str(account.id))
        await accounts.register(account.email)


class TestRoles:
    async def test_replaced(self, client: httpx.AsyncClient, admin: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        before = await admin.read(path(account))
        data = await admin.send("PUT", path(account, "roles"), {"roles": ["auditor", "auditor"]})
        assert data["roles"] == ["auditor"]
        assert data["updated_at"] > before["updated_at"]
        assert "audit:read" in data["permissions"]
        (event,) = await admin.read(EVENTS, action="user.roles.changed")
        assert event["details"] == {"added": ["auditor"], "removed": ["user"]}
        again = Caller(client, await accounts.log_in(account))
        await again.read(USERS)
        await admin.send("PUT", path(account, "roles"), {"roles": []})
        # The old token says otherwise, so it ends; a new one says what is.
        assert (await again.call("GET", "/api/auth/me")).status_code == 401
        again = Caller(client, await accounts.log_in(account))
        assert (await again.call("GET", USERS)).status_code == 403

    async def test_the_same_ones_are_no_change(self, admin: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        before = await admin.read(path(account))
        assert await admin.send("PUT", path(account, "roles"), {"roles": ["user"]}) == before
        assert await admin.read(EVENTS, action="user.roles.changed") == []

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"roles": ["user", "nonsense"]}, "unknown_role"),
            ({"roles": ["Admin"]}, "validation_failed"),
            ({"roles": ["admin "]}, "validation_failed"),
            ({"roles": [None]}, "validation_failed"),
            ({"roles": "admin"}, "validation_failed"),
            ({"role": "admin"}, "validation_failed"),
            ({}, "validation_failed"),
        ],
    )
    async def test_a_wrong_value(
        self, admin: Caller, accounts: Accounts, body: dict[str, Any], code: str
    ) -> None:
        account = await accounts.register()
        error = await admin.send("PUT", path(account, "roles"), body, expect=422)
        assert error["code"] == code
        assert (await admin.read(path(account)))["roles"] == ["user"]
