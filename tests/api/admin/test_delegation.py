"""Nobody hands on what he does not have, and the last administrator stays, however many try at once."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from authapi.models import Role, User, user_roles
from authapi.runtime import Runtime
from tests.api.admin.support import EVENTS, PERMISSIONS, ROLES, USERS, Caller
from tests.support.accounts import PASSWORD, Account, Accounts

NEW = {"email": "new@example.com", "full_name": "New", "password": PASSWORD}
HARM: list[tuple[str, str, dict[str, Any] | None]] = [
    ("PATCH", "", {"email": "mine@example.com"}),
    ("PATCH", "", {"full_name": "X"}),
    ("DELETE", "", None),
    ("POST", "/disable", None),
    ("POST", "/enable", None),
    ("PUT", "/roles", {"roles": []}),
    ("PUT", "/roles", {"roles": ["support"]}),
]


def path(account: Account, *rest: str) -> str:
    return "/".join([USERS, str(account.id), *rest])


async def count_active_admins(runtime: Runtime) -> int:
    async with runtime.database.unit_of_work() as db:
        statement = (
            select(func.count())
            .select_from(User)
            .join(user_roles, user_roles.c.user_id == User.id)
            .join(Role, Role.id == user_roles.c.role_id)
            .where(Role.name == "admin", User.disabled_at.is_(None), User.deleted_at.is_(None))
        )
        return await db.scalar(statement) or 0


class TestGrantingRoles:
    @pytest.mark.parametrize("role", ["admin", "auditor"])
    async def test_more_than_one_has(self, support: Caller, accounts: Accounts, role: str) -> None:
        account = await accounts.register()
        for target in (account, support.account):
            error = await support.send("PUT", path(target, "roles"), {"roles": ["support", role]}, expect=403)
            assert error["code"] == "cannot_grant"
        error = await support.send("POST", USERS, NEW | {"roles": [role]}, expect=403)
        assert error["code"] == "cannot_grant"
        assert (await support.read(path(account)))["roles"] == ["user"]
        assert await support.read(USERS, q="new@") == []

    async def test_what_one_has(self, support: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        data = await support.send("PUT", path(account, "roles"), {"roles": ["support", "user"]})
        assert set(data["roles"]) == {"support", "user"}
        assert (await support.send("POST", USERS, NEW | {"roles": ["support"]}))["roles"] == ["support"]
        assert (await support.send("PUT", path(account, "roles"), {"roles": []}))["roles"] == []

    async def test_all_permissions_do_not_make_an_administrator(
        self, client: httpx.AsyncClient, admin: Caller, accounts: Accounts
    ) -> None:
        everything = [permission["name"] for permission in await admin.read(PERMISSIONS)]
        await admin.make_role("deputy", *everything)
        deputy = Caller(client, await accounts.with_roles("deputy"))
        error = await deputy.send(
            "PUT", path(deputy.account, "roles"), {"roles": ["deputy", "admin"]}, expect=403
        )
        assert error["code"] == "cannot_grant"
        error = await deputy.send("POST", path(admin.account, "disable"), expect=403)
        assert error["code"] == "cannot_manage_user"
        assert (await deputy.send("POST", PERMISSIONS, {"name": "a:b"}, expect=403))[
            "code"
        ] == "permission_denied"

    async def test_an_administrator_grants_what_his_role_does_not_name(
        self, admin: Caller, accounts: Accounts
    ) -> None:
        await admin.send("POST", PERMISSIONS, {"name": "invoices:read"})
        await admin.make_role("clerk", "invoices:read")
        account = await accounts.register()
        data = await admin.send("PUT", path(account, "roles"), {"roles": ["clerk"]})
        assert data["permissions"] == ["invoices:read"]

    async def test_a_refusal_is_on_record(self, admin: Caller, support: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        await support.send("PUT", path(account, "roles"), {"roles": ["admin"]}, expect=403)
        await support.send("DELETE", path(admin.account), expect=403)
        events = await admin.read(EVENTS, action="access.denied")
        assert [(event["reason"], event["subject_id"], event["actor_id"]) for event in events] == [
            ("cannot_manage_user", str(admin.account.id), str(support.account.id)),
            ("cannot_grant", str(account.id), str(support.account.id)),
        ]


class TestManagingUsers:
    @pytest.mark.parametrize("role", ["admin", "auditor"])
    @pytest.mark.parametrize(("method", "rest", "body"), HARM)
    async def test_somebody_stronger(
        self, support: Caller, accounts: Accounts, role: str, method: str, rest: str, body: Any
    ) -> None:
        strong = await accounts.with_roles(role, "user")
        before = await support.read(path(strong))
        error = await support.send(method, path(strong) + rest, body, expect=403)
        assert error["code"] == "cannot_manage_user"
        assert await support.read(path(strong)) == before

    @pytest.mark.parametrize(("method", "rest", "body"), HARM)
    async def test_somebody_not_stronger(
        self, support: Caller, accounts: Accounts, method: str, rest: str, body: Any
    ) -> None:
        for roles in (["user"], ["support", "user"]):
            account = await accounts.with_roles(*roles)
            if body and "email" in body:
                body = {"email": f"other-{account.email}"}
            await support.send(method, path(account) + rest, body)

    async def test_an_auditor_who_was_given_one_more_right(
        self, client: httpx.AsyncClient, admin: Caller, accounts: Accounts
    ) -> None:
        await admin.make_role("helper", "users:read", "users:write")
        helper = Caller(client, await accounts.with_roles("helper"))
        account = await accounts.with_roles("auditor")
        await helper.send("POST", path(account, "disable"), expect=403)
        await accounts.assign_roles(account, ["helper"])
        await helper.send("POST", path(account, "disable"))


class TestRolePermissions:
    async def test_more_than_one_has(self, admin: Caller, support: Caller) -> None:
        body = {"name": "spies", "permissions": ["users:read", "audit:read"]}
        assert (await support.send("POST", ROLES, body, expect=403))["code"] == "cannot_grant"
        own = next(role for role in await support.read(ROLES) if role["name"] == "support")
        body = {"permissions": [*own["permissions"], "stats:read"]}
        error = await support.send("PATCH", f"{ROLES}/{own['id']}", body, expect=403)
        assert error["code"] == "cannot_grant"
        assert await support.read(f"{ROLES}/{own['id']}") == own

    async def test_somebody_elses(self, admin: Caller, support: Caller) -> None:
        """Taking permissions away from others needs them too."""
        spies = await admin.make_role("spies", "users:read", "audit:read")
        for method, body in (
            ("PATCH", {"permissions": ["users:read"]}),
            ("PATCH", {"rank": 99}),
            ("PATCH", {"description": "X"}),
            ("DELETE", None),
        ):
            error = await support.send(method, f"{ROLES}/{spies['id']}", body, expect=403)
            assert error["code"] == "cannot_grant"
        assert await support.read(f"{ROLES}/{spies['id']}") == spies

    async def test_what_one_has(self, support: Caller) -> None:
        role = await support.make_role("juniors", "users:read")
        data = await support.send("PATCH", f"{ROLES}/{role['id']}", {"permissions": ["users:write"]})
        assert data["permissions"] == ["users:write"]
        await support.send("DELETE", f"{ROLES}/{role['id']}")


class TestLastAdmin:
    @pytest.mark.parametrize(
        ("method", "rest", "body"),
        [("DELETE", "", None), ("POST", "/disable", None), ("PUT", "/roles", {"roles": ["user"]})],
    )
    async def test_stays(
        self, admin: Caller, accounts: Accounts, runtime: Runtime, method: str, rest: str, body: Any
    ) -> None:
        disabled = await accounts.admin()
        await admin.send("POST", path(disabled, "disable"))
        error = await admin.send(method, path(admin.account) + rest, body, expect=409)
        assert error["code"] == "last_admin"
        assert await count_active_admins(runtime) == 1
        # A disabled one may go.
        await admin.send(method, path(disabled) + rest, body)

    async def test_may_take_further_roles(self, admin: Caller) -> None:
        data = await admin.send("PUT", path(admin.account, "roles"), {"roles": ["admin", "user"]})
        assert data["roles"] == ["admin", "user"]

    async def test_one_of_two_may_go(self, admin: Caller, accounts: Accounts) -> None:
        await accounts.admin()
        await admin.send("POST", path(admin.account, "disable"))
        assert (await admin.call("GET", USERS)).status_code == 401

    @pytest.mark.parametrize(
        ("method", "rest", "body"),
        [("DELETE", "", None), ("POST", "/disable", None), ("PUT", "/roles", {"roles": ["user"]})],
    )
    async def test_two_against_each_other(
        self,
        client: httpx.AsyncClient,
        accounts: Accounts,
        runtime: Runtime,
        method: str,
        rest: str,
        body: Any,
    ) -> None:
        for _ in range(3):
            ann, bob = [Caller(client, await accounts.admin()) for _ in range(2)]
            responses = await asyncio.gather(
                ann.call(method, path(bob.account) + rest, json=body),
                bob.call(method, path(ann.account) + rest, json=body),
            )
            # The second finds that he is no administrator any more, or gone.
            assert sorted(response.status_code for response in responses) in ([200, 401], [200, 403])
            assert await count_active_admins(runtime) == 1
            last = ann if responses[0].status_code == 200 else bob
            await accounts.assign_roles(last.account, [])

    async def test_all_at_once_in_every_way(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
    ) -> None:
        callers = [Caller(client, await accounts.admin()) for _ in range(6)]
        ways: list[tuple[str, str, Any]] = [
            ("DELETE", "", None),
            ("POST", "/disable", None),
            ("PUT", "/roles", {"roles": []}),
        ]
        attempts = [
            caller.call(
                ways[number % 3][0], path(target.account) + ways[number % 3][1], json=ways[number % 3][2]
            )
            for caller in callers
            for number, target in enumerate(callers)
        ]
        attempts += [
            client.request("DELETE", "/api/profile", headers=c.account.headers, json={"password": PASSWORD})
            for c in callers
        ]
        responses = await asyncio.gather(*attempts)
        statuses = {response.status_code for response in responses}
        assert statuses <= {200, 401, 403, 404, 409, 503}
        # Who waited too long for a connection was told so, and that attempt did nothing.
        left = await count_active_admins(runtime)
        assert left >= 1 if 503 in statuses else left == 1
