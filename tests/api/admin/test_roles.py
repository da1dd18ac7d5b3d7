"""Administration of roles and permissions."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from authapi import clock, enums
from authapi.models import Permission
from authapi.models.base import new_id
from authapi.runtime import Runtime
from authapi.services.permission_administration import MAX_PERMISSIONS
from authapi.services.role_administration import MAX_ROLES
from authapi.services.role_assignment import MAX_CLAIM_BYTES
from tests.api.admin.support import EVENTS, PERMISSIONS, ROLES, USERS, Caller
from tests.support.accounts import PASSWORD, Accounts

pytestmark = pytest.mark.one_database

BUILT_IN = sorted(enums.Permission)


async def built_in_role(caller: Caller, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(role for role in await caller.read(ROLES) if role["name"] == name)
    return found


async def make_permissions(runtime: Runtime, names: list[str]) -> None:
    now = clock.utc_now()
    stamps = {"description": "", "is_built_in": False, "created_at": now, "updated_at": now}
    async with runtime.database.unit_of_work() as db:
        await db.execute(insert(Permission), [{"id": new_id(), "name": name} | stamps for name in names])


class TestRoles:
    async def test_what_an_installation_starts_with(self, auditor: Caller) -> None:
        found = await auditor.read(ROLES)
        assert [(role["name"], role["rank"], role["is_built_in"]) for role in found] == [
            ("admin", 100, True),
            ("auditor", 50, True),
            ("user", 10, True),
        ]
        assert found[0]["permissions"] == BUILT_IN

    async def test_made_read_changed_and_deleted(self, admin: Caller) -> None:
        made = await admin.send(
            "POST", ROLES, {"name": "support", "description": "Helps", "permissions": ["users:read"]}
        )
        assert (made["rank"], made["is_built_in"], made["permissions"]) == (20, False, ["users:read"])
        one = f"{ROLES}/{made['id']}"
        assert await admin.read(one) == made
        changed = await admin.send("PATCH", one, {"rank": 99, "permissions": ["users:write", "stats:read"]})
        assert changed["updated_at"] > made["updated_at"]
        expected = made | {"rank": 99, "permissions": ["stats:read", "users:write"]}
        assert changed == expected | {"updated_at": changed["updated_at"]}
        assert [role["name"] for role in await admin.read(ROLES)] == ["admin", "support", "auditor", "user"]
        assert await admin.send("PATCH", one, {}) == changed
        assert await admin.send("DELETE", one) is None
        assert (await admin.send("GET", one, expect=404))["code"] == "role_not_found"
        details = {event["action"]: event["details"] for event in await admin.read(EVENTS)}
        assert details["role.created"] == {"role": "support", "permissions": ["users:read"]}
        assert details["role.updated"] == {
            "role": "support",
            "fields": ["permissions", "rank"],
            "added": ["stats:read", "users:write"],
            "removed": ["users:read"],
        }
        assert details["role.deleted"] == {"role": "support"}

    async def test_only_the_permissions_change(self, admin: Caller) -> None:
        made = await admin.make_role("support", "users:read")
        changed = await admin.send("PATCH", f"{ROLES}/{made['id']}", {"permissions": []})
        assert changed["permissions"] == []
        assert changed["updated_at"] > made["updated_at"]

    async def test_a_change_counts_at_once(
        self, client: httpx.AsyncClient, admin: Caller, accounts: Accounts
    ) -> None:
        role = await admin.make_role("support", "users:read")
        caller = Caller(client, await accounts.with_roles("support"))
        await caller.read(USERS)
        await admin.send("PATCH", f"{ROLES}/{role['id']}", {"permissions": []})
        assert (await caller.call("GET", USERS)).status_code == 401
        again = Caller(client, await accounts.log_in(caller.account))
        assert (await again.call("GET", USERS)).status_code == 403

    @pytest.mark.parametrize("name", ["admin", "auditor", "user"])
    async def test_built_in_ones_stay(self, admin: Caller, name: str) -> None:
        role = await built_in_role(admin, name)
        for method, body in (
            ("PATCH", {"description": "X"}),
            ("PATCH", {"permissions": []}),
            ("DELETE", None),
        ):
            error = await admin.send(method, f"{ROLES}/{role['id']}", body, expect=409)
            assert error["code"] == "role_is_built_in"
        error = await admin.send("POST", ROLES, {"name": name}, expect=409)
        assert error["code"] == "role_exists"
        assert await built_in_role(admin, name) == role

    async def test_one_that_is_assigned_stays(self, admin: Caller, accounts: Accounts) -> None:
        role = await admin.make_role("support", "users:read")
        account = await accounts.with_roles("support")
        assert (await admin.send("DELETE", f"{ROLES}/{role['id']}", expect=409))["code"] == "role_in_use"
        await accounts.assign_roles(account, [])
        await admin.send("DELETE", f"{ROLES}/{role['id']}")

    async def test_assigned_and_deleted_at_once(self, admin: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        for number in range(5):
            role = await admin.make_role(f"role-{number}")
            assigned, deleted = await asyncio.gather(
                admin.call("PUT", f"{USERS}/{account.id}/roles", json={"roles": [role["name"]]}),
                admin.call("DELETE", f"{ROLES}/{role['id']}"),
            )
            assert (assigned.status_code, deleted.status_code) in {(200, 409), (422, 200)}

    async def test_of_ten_with_one_name_one_is_made(self, admin: Caller) -> None:
        responses = await asyncio.gather(
            *(admin.call("POST", ROLES, json={"name": "support"}) for _ in range(10))
        )
        assert sorted(response.status_code for response in responses) == [200] + [409] * 9

    @pytest.mark.parametrize(
        ("body", "code", "loc"),
        [
            ({"name": "a"}, "too_short", ["body", "name"]),
            ({"name": "a" * 64}, "too_long", ["body", "name"]),
            ({"name": "Support"}, "wrong_format", ["body", "name"]),
            ({"name": "1st"}, "wrong_format", ["body", "name"]),
            ({"name": "a b"}, "wrong_format", ["body", "name"]),
            ({"name": "support\n"}, "wrong_format", ["body", "name"]),
            ({"name": "súpport"}, "wrong_format", ["body", "name"]),
            ({"rank": 0}, "too_small", ["body", "rank"]),
            ({"rank": 100}, "too_large", ["body", "rank"]),
            ({"rank": "20"}, "wrong_type", ["body", "rank"]),
            ({"rank": None}, "wrong_type", ["body", "rank"]),
            ({"description": "x" * 201}, "too_long", ["body", "description"]),
            ({"permissions": ["users:read", "no:such"]}, "unknown_permission", ["body", "permissions", 1]),
            ({"permissions": ["users"]}, "wrong_format", ["body", "permissions", 0]),
            ({"permissions": None}, "wrong_type", ["body", "permissions"]),
            ({"is_built_in": True}, "unknown_field", ["body", "is_built_in"]),
            ({"id": "x"}, "unknown_field", ["body", "id"]),
        ],
    )
    async def test_a_wrong_value(
        self, admin: Caller, body: dict[str, Any], code: str, loc: list[Any]
    ) -> None:
        error = await admin.send("POST", ROLES, {"name": "support"} | body, expect=422)
        assert [(field["code"], field["loc"]) for field in error["fields"]] == [(code, loc)]
        if "name" not in body:
            role = await admin.make_role("support")
            error = await admin.send("PATCH", f"{ROLES}/{role['id']}", body, expect=422)
            assert [(field["code"], field["loc"]) for field in error["fields"]] == [(code, loc)]

    async def test_the_name_stays(self, admin: Caller) -> None:
        role = await admin.make_role("support")
        error = await admin.send("PATCH", f"{ROLES}/{role['id']}", {"name": "other"}, expect=422)
        assert [(field["code"], field["loc"]) for field in error["fields"]] == [
            ("unknown_field", ["body", "name"])
        ]
        assert (await admin.read(f"{ROLES}/{role['id']}"))["name"] == "support"

    async def test_there_is_a_last_one(self, admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        assert MAX_ROLES == 200
        monkeypatch.setattr("authapi.services.role_administration.MAX_ROLES", 4)
        await admin.make_role("one")
        assert (await admin.send("POST", ROLES, {"name": "two"}, expect=409))["code"] == "catalogue_full"


class TestPermissions:
    async def test_what_an_installation_starts_with(self, auditor: Caller) -> None:
        found = await auditor.read(PERMISSIONS)
        assert [permission["name"] for permission in found] == BUILT_IN
        assert all(permission["is_built_in"] and permission["description"] for permission in found)

    async def test_made_read_changed_and_deleted(self, admin: Caller) -> None:
        made = await admin.send("POST", PERMISSIONS, {"name": "invoices:read", "description": "Read them"})
        assert made["is_built_in"] is False
        one = f"{PERMISSIONS}/{made['id']}"
        assert await admin.read(one) == made
        changed = await admin.send("PATCH", one, {"description": "Read invoices"})
        assert changed == made | {"description": "Read invoices", "updated_at": changed["updated_at"]}
        assert await admin.send("PATCH", one, {"description": "Read invoices"}) == changed
        await admin.send("DELETE", one)
        assert (await admin.send("GET", one, expect=404))["code"] == "permission_not_found"
        details = [event["details"] for event in await admin.read(EVENTS) if "permission." in event["action"]]
        assert details == [
            {"permission": "invoices:read"},
            {"permission": "invoices:read", "fields": ["description"]},
            {"permission": "invoices:read"},
            {"permission": "invoices:read"},
        ]

    async def test_reaches_the_token_of_whoever_has_it(
        self, client: httpx.AsyncClient, admin: Caller, accounts: Accounts
    ) -> None:
        await admin.send("POST", PERMISSIONS, {"name": "invoices:read"})
        await admin.make_role("clerk", "invoices:read")
        account = await accounts.with_roles("clerk")
        me = (await client.get("/api/auth/me", headers=account.headers)).json()["data"]
        assert me["scopes"] == ["invoices:read"]

    async def test_one_that_a_role_holds_stays(self, admin: Caller) -> None:
        made = await admin.send("POST", PERMISSIONS, {"name": "invoices:read"})
        role = await admin.make_role("clerk", "invoices:read")
        one = f"{PERMISSIONS}/{made['id']}"
        assert (await admin.send("DELETE", one, expect=409))["code"] == "permission_in_use"
        await admin.send("DELETE", f"{ROLES}/{role['id']}")
        await admin.send("DELETE", one)

    async def test_taken_by_a_role_and_deleted_at_once(self, admin: Caller) -> None:
        role = await admin.make_role("clerk")
        for number in range(5):
            made = await admin.send("POST", PERMISSIONS, {"name": f"invoices:read-{number}"})
            taken, deleted = await asyncio.gather(
                admin.call("PATCH", f"{ROLES}/{role['id']}", json={"permissions": [made["name"]]}),
                admin.call("DELETE", f"{PERMISSIONS}/{made['id']}"),
            )
            assert (taken.status_code, deleted.status_code) in {(200, 409), (422, 200)}

    async def test_built_in_ones_stay(self, admin: Caller) -> None:
        for permission in await admin.read(PERMISSIONS):
            one = f"{PERMISSIONS}/{permission['id']}"
            for method, body in (("PATCH", {"description": "X"}), ("DELETE", None)):
                assert (await admin.send(method, one, body, expect=409))["code"] == "permission_is_built_in"
        assert [permission["name"] for permission in await admin.read(PERMISSIONS)] == BUILT_IN
        error = await admin.send("POST", PERMISSIONS, {"name": "users:read"}, expect=409)
        assert error["code"] == "permission_exists"

    @pytest.mark.parametrize(
        "name",
        [
            "invoices",
            "Invoices:read",
            "invoices:",
            ":read",
            "invoices read",
            "invoices:read ",
            "a:b\n",
            "a::b",
            "1a:b",
            "a:1b",
            "a:" + "b" * 63,
            'a:"b',
            "a\\:b",
            "é:a",
            "a_b:c",
            "",
            None,
            1,
        ],
    )
    async def test_a_name_that_is_no_scope(self, admin: Caller, name: Any) -> None:
        error = await admin.send("POST", PERMISSIONS, {"name": name}, expect=422)
        assert error["fields"][0]["loc"] == ["body", "name"]

    @pytest.mark.parametrize("name", ["a:b", "invoices:read:own", "a-b:c-d", "a:" + "b" * 62])
    async def test_a_name_that_is_one(self, admin: Caller, name: str) -> None:
        assert (await admin.send("POST", PERMISSIONS, {"name": name}))["name"] == name

    async def test_the_name_stays(self, admin: Caller) -> None:
        made = await admin.send("POST", PERMISSIONS, {"name": "a:b"})
        error = await admin.send("PATCH", f"{PERMISSIONS}/{made['id']}", {"name": "c:d"}, expect=422)
        assert ("unknown_field", ["body", "name"]) in [
            (field["code"], field["loc"]) for field in error["fields"]
        ]
        assert (await admin.read(f"{PERMISSIONS}/{made['id']}"))["name"] == "a:b"

    async def test_there_is_a_last_one(self, admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        assert MAX_PERMISSIONS == 200
        monkeypatch.setattr("authapi.services.permission_administration.MAX_PERMISSIONS", len(BUILT_IN) + 1)
        await admin.send("POST", PERMISSIONS, {"name": "a:b"})
        error = await admin.send("POST", PERMISSIONS, {"name": "c:d"}, expect=409)
        assert error["code"] == "catalogue_full"


class TestTokenSize:
    """What no token could carry is refused where it is assigned: the user could not log in any more."""

    async def test_one_role_with_too_much(self, admin: Caller, runtime: Runtime) -> None:
        names = [f"service:permission-{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(100)]
        await make_permissions(runtime, names)
        body = {"name": "everything", "permissions": names}
        assert (await admin.send("POST", ROLES, body, expect=409))["code"] == "roles_exceed_token"
        fitting = (MAX_CLAIM_BYTES - len("everything") - 3) // (len(names[0]) + 1)
        role = await admin.send("POST", ROLES, body | {"permissions": names[:fitting]})
        one = f"{ROLES}/{role['id']}"
        error = await admin.send("PATCH", one, {"permissions": names[: fitting + 1]}, expect=409)
        assert error["code"] == "roles_exceed_token"
        assert await admin.read(one) == role

    async def test_roles_that_are_too_much_together(
        self, client: httpx.AsyncClient, admin: Caller, accounts: Accounts, runtime: Runtime
    ) -> None:
        names = [f"service:permission-{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(80)]
        await make_permissions(runtime, names)
        await admin.make_role("first", *names[:40])
        second = await admin.make_role("second", *names[40:75])
        await admin.make_role("same", *names[:40])
        account = await accounts.register("x" * 60 + "@example.com")
        assign = f"{USERS}/{account.id}/roles"
        error = await admin.send("PUT", assign, {"roles": ["first", "second"]}, expect=409)
        assert error["code"] == "roles_exceed_token"
        new = {"email": "new@example.com", "full_name": "New", "password": PASSWORD}
        error = await admin.send("POST", USERS, new | {"roles": ["first", "second"]}, expect=409)
        assert error["code"] == "roles_exceed_token"
        assert (await admin.read(USERS, q="new@")) == []
        # A permission that two roles share is in the token once.
        await admin.send("PUT", assign, {"roles": ["first", "same", "user"]})
        again = await accounts.log_in(account)
        me = (await client.get("/api/auth/me", headers=again.headers)).json()["data"]
        assert me["scopes"] == names[:40]
        # The other way round: a role grows under a user who has much already.
        await admin.send("PATCH", f"{ROLES}/{second['id']}", {"permissions": []})
        await admin.send("PUT", assign, {"roles": ["first", "second"]})
        body = {"permissions": names[40:75]}
        error = await admin.send("PATCH", f"{ROLES}/{second['id']}", body, expect=409)
        assert error["code"] == "roles_exceed_token"
        await accounts.log_in(account)
