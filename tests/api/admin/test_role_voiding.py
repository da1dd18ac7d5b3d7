"""What a role loses, its holders' access tokens lose: those of services that verify offline, too."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
import time_machine
from sqlalchemy import select

from authapi import clock, errors
from authapi.models import Revocation
from authapi.runtime import Runtime
from tests.api.admin.support import ROLES, USERS, Caller
from tests.support.accounts import Account, Accounts
from tests.support.statements import statements_of_requests

GIVEN = ("users:read", "stats:read")


def is_valid(runtime: Runtime, access_token: str) -> bool:
    """As a service that verifies offline sees it: by the token and the revocations alone."""
    try:
        runtime.tokens.verify(access_token)
    except errors.InvalidAccessToken:
        return False
    return True


def scopes(runtime: Runtime, access_token: str) -> set[str]:
    return set(runtime.tokens.verify(access_token).claims.scope.split())


async def refresh(client: httpx.AsyncClient, account: Account) -> str:
    body = {"refresh_token": account.data["refresh_token"]}
    response = await client.post("/api/auth/refresh", json=body)
    assert response.status_code == 200, response.text
    account.data.update(response.json()["data"])
    token: str = account.data["access_token"]
    return token


async def voided(runtime: Runtime) -> set[str | None]:
    async with runtime.database.reading() as db:
        return set(await db.scalars(select(Revocation.subject)))


async def change(admin: Caller, role: dict[str, Any], body: dict[str, Any]) -> None:
    await admin.send("PATCH", f"{ROLES}/{role['id']}", body)


class TestTakingAway:
    async def test_ends_the_access_tokens_and_no_session(
        self, client: httpx.AsyncClient, runtime: Runtime, admin: Caller, accounts: Accounts
    ) -> None:
        role = await admin.make_role("support", *GIVEN)
        holders = [await accounts.with_roles("support") for _ in range(2)]
        other = await accounts.register()
        await change(admin, role, {"permissions": ["stats:read"]})
        assert [is_valid(runtime, holder.access_token) for holder in holders] == [False, False]
        assert is_valid(runtime, other.access_token)
        assert await voided(runtime) == {str(holder.id) for holder in holders}
        for holder in holders:
            assert scopes(runtime, await refresh(client, holder)) == {"stats:read"}

    async def test_a_second_time_within_the_second(
        self, client: httpx.AsyncClient, runtime: Runtime, admin: Caller, accounts: Accounts
    ) -> None:
        role = await admin.make_role("support", *GIVEN)
        holder = await accounts.with_roles("support")
        with time_machine.travel(clock.utc_now(), tick=False):
            for permissions in (["stats:read"], []):
                await change(admin, role, {"permissions": permissions})
                assert not is_valid(runtime, holder.data["access_token"])
                assert scopes(runtime, await refresh(client, holder)) == set(permissions)

    async def test_asking_for_a_second_factor_takes_the_role_from_whoever_showed_none(
        self, client: httpx.AsyncClient, runtime: Runtime, admin: Caller, accounts: Accounts
    ) -> None:
        role = await admin.make_role("support", *GIVEN)
        holder = await accounts.with_roles("support")
        await change(admin, role, {"requires_second_factor": True})
        assert not is_valid(runtime, holder.access_token)
        assert scopes(runtime, await refresh(client, holder)) == set()

    async def test_more_holders_than_a_part(
        self, runtime: Runtime, admin: Caller, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        role = await admin.make_role("support", *GIVEN)
        holders = [await accounts.with_roles("support") for _ in range(4)]
        for size in (2, 3):
            monkeypatch.setattr("authapi.repositories.role_holders.PART", size)
            await change(admin, role, {"permissions": ["stats:read"] if size == 2 else []})
            assert await voided(runtime) == {str(holder.id) for holder in holders}
            for holder in holders:
                assert not is_valid(runtime, holder.data["access_token"])
                again = await accounts.log_in(holder)
                holder.data.update(again.data)

    async def test_only_users_who_can_have_a_token(
        self, runtime: Runtime, admin: Caller, accounts: Accounts
    ) -> None:
        """A role of millions of users voids the tokens of those who were here within a token's lifetime."""
        role = await admin.make_role("support", *GIVEN)
        await accounts.with_roles("support")
        later = clock.utc_now() + timedelta(hours=3)
        with time_machine.travel(later):
            again = Caller(admin._client, await accounts.log_in(admin.account))
            lately = await accounts.with_roles("support")
            await change(again, role, {"permissions": []})
            assert await voided(runtime) == {str(lately.id)}


class TestLeavingTokensAlone:
    @pytest.mark.parametrize(
        "body",
        [
            {"permissions": [*GIVEN, "audit:read"]},
            {"permissions": list(reversed(GIVEN))},
            {"description": "Helps", "rank": 30},
            {"requires_second_factor": False},
        ],
    )
    async def test_what_takes_nothing_away(
        self, runtime: Runtime, admin: Caller, accounts: Accounts, body: dict[str, Any]
    ) -> None:
        role = await admin.make_role("support", *GIVEN)
        holder = await accounts.with_roles("support")
        await change(admin, role, body)
        assert is_valid(runtime, holder.access_token)
        assert await voided(runtime) == set()

    async def test_a_role_that_is_held_cannot_be_deleted(
        self, runtime: Runtime, admin: Caller, accounts: Accounts
    ) -> None:
        """Whoever held it before it went lost it by an assignment, which voids."""
        role = await admin.make_role("support", *GIVEN)
        holder = await accounts.with_roles("support")
        one = f"{ROLES}/{role['id']}"
        assert (await admin.send("DELETE", one, expect=409))["code"] == "role_in_use"
        assert is_valid(runtime, holder.access_token)
        await admin.send("PUT", f"{USERS}/{holder.id}/roles", {"roles": []})
        await admin.send("DELETE", one)
        assert not is_valid(runtime, holder.access_token)


async def test_the_work_does_not_grow_with_the_holders(
    runtime: Runtime, admin: Caller, accounts: Accounts
) -> None:
    counts = []
    for number, name in ((1, "few"), (6, "many")):
        role = await admin.make_role(name, *GIVEN)
        for _ in range(number):
            await accounts.with_roles(name)
        with statements_of_requests(runtime) as statements:
            await change(admin, role, {"permissions": []})
        counts.append(len(statements))
    assert counts[0] == counts[1]


async def test_refreshes_and_logins_meanwhile(
    client: httpx.AsyncClient, runtime: Runtime, admin: Caller, accounts: Accounts
) -> None:
    """Once the change was answered, no token that still counts holds what was taken away."""
    role = await admin.make_role("support", *GIVEN)
    holders = [await accounts.with_roles("support") for _ in range(4)]
    for round_number in range(4):
        took_away = round_number % 2 == 0
        body = {"permissions": ["stats:read"] if took_away else list(GIVEN)}
        again = [accounts.log_in(holder) for holder in holders[:2]]
        tokens = await asyncio.gather(
            *(refresh(client, holder) for holder in holders[2:]),
            change(admin, role, body),
            *again,
        )
        texts = [token.access_token if isinstance(token, Account) else token for token in tokens if token]
        if took_away:
            kept = [token for token in texts if is_valid(runtime, token)]
            assert [token for token in kept if "users:read" in scopes(runtime, token)] == []
