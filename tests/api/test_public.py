"""The public search over HTTP, on both databases."""

from typing import Any

import httpx
import pytest
from sqlalchemy import update

from authapi import clock
from authapi.models import User
from authapi.runtime import Runtime
from tests.conftest import MakeApp, http_client
from tests.support.accounts import Account, Accounts

SEARCH = "/api/public/search"


async def discoverable(
    client: httpx.AsyncClient, accounts: Accounts, full_name: str, email: str | None = None
) -> Account:
    """Somebody who wants to be found."""
    account = await accounts.register(email, full_name=full_name)
    response = await client.patch("/api/profile", headers=account.headers, json={"discoverable": True})
    assert response.status_code == 200
    return account


async def found(client: httpx.AsyncClient, q: str, **parameters: Any) -> list[str]:
    response = await client.get(SEARCH, params={"q": q, **parameters})
    assert response.status_code == 200, response.text
    return [user["full_name"] for user in response.json()["data"]]


class TestSearch:
    async def test_public_fields_only(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await discoverable(client, accounts, "Ada Lovelace")
        response = await client.get(SEARCH, params={"q": "love"})
        assert response.status_code == 200
        body = response.json()
        assert body["data"] == [{"id": str(account.id), "full_name": "Ada Lovelace"}]
        assert body["page"] == {"next_cursor": None, "limit": 20}

    @pytest.mark.parametrize("q", ["ad", "Ada", "ADA", "lovelace", "da lo", "  ada  ", "Ada Lovelace"])
    async def test_any_part_of_the_name(self, client: httpx.AsyncClient, accounts: Accounts, q: str) -> None:
        await discoverable(client, accounts, "Ada Lovelace")
        assert await found(client, q) == ["Ada Lovelace"]

    @pytest.mark.parametrize("q", ["zoë", "ZOË", "ë ł", "ÖBER", "अनन्या", "łu", "ŁUK"])
    async def test_letters_beyond_ascii(self, client: httpx.AsyncClient, accounts: Accounts, q: str) -> None:
        await discoverable(client, accounts, "Zoë Łukasz-Öberg अनन्या")
        assert len(await found(client, q)) == 1

    async def test_only_who_wants_to_be_found(
        self, client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
    ) -> None:
        await accounts.register(full_name="Ada Hidden")
        disabled = await discoverable(client, accounts, "Ada Disabled")
        left = await discoverable(client, accounts, "Ada Left")
        await discoverable(client, accounts, "Ada Found")
        async with runtime.database.unit_of_work() as db:
            await db.execute(update(User).where(User.id == disabled.id).values(disabled_at=clock.utc_now()))
        await client.request("DELETE", "/api/profile", headers=left.headers, json={"password": left.password})
        assert await found(client, "ada") == ["Ada Found"]

    async def test_who_changes_his_mind_is_not_found(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await discoverable(client, accounts, "Ada Lovelace")
        await client.patch("/api/profile", headers=account.headers, json={"discoverable": False})
        assert await found(client, "ada") == []

    async def test_the_address_cannot_be_searched(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        await discoverable(client, accounts, "Ada Lovelace", "countess@example.com")
        for q in ("countess", "countess@example.com", "example"):
            assert await found(client, q) == []

    @pytest.mark.parametrize(
        "q", ["%%", "__", "a%a", "a_a", "\\\\", "%a", "/%", "[a-z]", ".*", "' OR '1'='1"]
    )
    async def test_wildcards_are_plain_characters(
        self, client: httpx.AsyncClient, accounts: Accounts, q: str
    ) -> None:
        await discoverable(client, accounts, "Ada Lovelace")
        await discoverable(client, accounts, f"x{q}y")
        assert await found(client, q) == [f"x{q}y"]


class TestPages:
    async def test_every_user_once_in_the_order_of_names(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        names = ["Ada C", "Ada A", "Ada B", "Ada A", "Ada D", "Ada A", "Ada B"]
        for name in names:
            await discoverable(client, accounts, name)
        seen: list[dict[str, str]] = []
        cursor, pages = None, 0
        while pages == 0 or cursor is not None:
            parameters = {"q": "ada", "limit": "2"} | ({"cursor": cursor} if cursor else {})
            body = (await client.get(SEARCH, params=parameters)).json()
            seen += body["data"]
            assert body["page"]["limit"] == 2
            cursor, pages = body["page"]["next_cursor"], pages + 1
        assert [user["full_name"] for user in seen] == sorted(names)
        assert len({user["id"] for user in seen}) == len(names)
        assert pages == 4

    async def test_a_full_last_page_says_so(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        for name in ("Ada A", "Ada B"):
            await discoverable(client, accounts, name)
        body = (await client.get(SEARCH, params={"q": "ada", "limit": "2"})).json()
        assert (len(body["data"]), body["page"]["next_cursor"]) == (2, None)


class TestRefusals:
    @pytest.mark.parametrize(
        "query",
        [
            *("", "q=", "q=a", "q=%20%20%20", "q=%20a%20", f"q={'a' * 101}", "q=a%0Ab", "q=%01%01"),
            *("q=ada&limit=0", "q=ada&limit=101", "q=ada&limit=x", "q=ada&email=a@example.com"),
            *("q=ada&cursor=x", "q=ada&cursor=", f"q=ada&cursor={'A' * 500}"),
        ],
    )
    async def test_what_the_query_must_not_be(self, client: httpx.AsyncClient, query: str) -> None:
        response = await client.get(f"{SEARCH}?{query}")
        assert response.status_code == 422, response.text
        assert response.json()["success"] is False

    @pytest.mark.parametrize("query", ["q=ada&q=bob", "q=%00%00", "q=%ff%ff", "q=%zz"])
    async def test_what_no_query_may_be(self, client: httpx.AsyncClient, query: str) -> None:
        response = await client.get(f"{SEARCH}?{query}")
        assert response.status_code == 400, response.text

    async def test_is_limited(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"search": "3/minute"}) as app, http_client(app) as client:
            responses = [await client.get(SEARCH, params={"q": f"ad{n}"}) for n in range(4)]
        assert [response.status_code for response in responses] == [200, 200, 200, 429]
        assert int(responses[-1].headers["Retry-After"]) >= 1
