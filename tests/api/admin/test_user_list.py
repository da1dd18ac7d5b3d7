"""The list of users: pages, orders, filters, and what a search means."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from authapi import clock
from authapi.models import User
from authapi.models.base import new_id
from authapi.models.user import name_key
from authapi.repositories import users
from authapi.runtime import Runtime
from tests.api.admin.support import EVENTS, USERS, Caller
from tests.support.accounts import Accounts

# Under many locales punctuation counts little and "ab" stands before "a-z".
LOCALS = ["a-z", "a.z", "a_z", "a+z", "ab", "a1", "z", "é", "ö", "zz", "0", "~", "aa"]


async def add_users(runtime: Runtime, emails: list[str], *, name: str = "Somebody") -> None:
    """Insert accounts made one second after the other, quicker than over HTTP."""
    start = clock.utc_now() - timedelta(days=1)
    rows = [
        {
            "id": new_id(),
            "email": email,
            "email_canonical": email,
            "full_name": name,
            "full_name_key": name_key(name),
            "created_at": start + timedelta(seconds=number),
        }
        for number, email in enumerate(emails)
    ]
    async with runtime.database.unit_of_work() as db:
        await db.execute(insert(User), rows)


def emails(pages: list[list[dict[str, Any]]]) -> list[str]:
    return [user["email"] for page in pages for user in page]


class TestPages:
    @pytest.mark.parametrize("sort", ["created_at", "-created_at", "email", "-email"])
    @pytest.mark.parametrize("limit", [1, 7, 31, 100])
    async def test_every_user_once_in_order(
        self, admin: Caller, runtime: Runtime, sort: str, limit: int
    ) -> None:
        made = [f"user{(number * 7) % 30:02}@example.com" for number in range(30)]
        await add_users(runtime, made)
        pages = await admin.walk(USERS, sort=sort, limit=limit)
        expected = [*made, admin.account.email]
        if "email" in sort:
            expected.sort()
        if sort.startswith("-"):
            expected.reverse()
        assert emails(pages) == expected
        assert {len(page) for page in pages[:-1]} <= {limit}
        assert pages[-1]

    async def test_the_newest_first_and_25_by_default(self, admin: Caller, runtime: Runtime) -> None:
        await add_users(runtime, [f"user{number:02}@example.com" for number in range(30)])
        response = await admin.call("GET", USERS)
        body = response.json()
        assert len(body["data"]) == body["page"]["limit"] == 25
        assert body["data"][0]["email"] == admin.account.email
        assert [*body["data"]] == sorted(body["data"], key=lambda user: user["created_at"], reverse=True)

    async def test_an_exact_last_page_has_no_cursor(self, admin: Caller, runtime: Runtime) -> None:
        await add_users(runtime, ["a@example.com", "b@example.com", "c@example.com"])
        assert [len(page) for page in await admin.walk(USERS, limit=2)] == [2, 2]

    async def test_same_instant(self, admin: Caller, runtime: Runtime) -> None:
        now = clock.utc_now()
        async with runtime.database.unit_of_work() as db:
            for number in range(9):
                user = User(
                    email=f"{number}@x.com", email_canonical=f"{number}@x.com", full_name="X", created_at=now
                )
                await users.add(db, user)
        for sort in ("created_at", "-created_at"):
            found = emails(await admin.walk(USERS, sort=sort, limit=2, q="x"))
            assert sorted(found) == [f"{number}@x.com" for number in range(9)]

    async def test_stable_while_users_come_and_go(
        self, admin: Caller, accounts: Accounts, runtime: Runtime
    ) -> None:
        old = [f"m{number:02}@example.com" for number in range(26)]
        await add_users(runtime, old)
        seen, cursor = [], None
        for number in range(4):
            parameters = {"sort": "email", "limit": "10", "q": "m"} | ({"cursor": cursor} if cursor else {})
            body = (await admin.call("GET", USERS, params=parameters)).json()
            seen += [user["email"] for user in body["data"]]
            cursor = body["page"]["next_cursor"]
            # One before and one after what was shown, and the last one that was shown goes.
            await add_users(runtime, [f"m00{number}@example.com", f"m99{number}@example.com"])
            last = body["data"][-1]["id"]
            await admin.send("DELETE", f"{USERS}/{last}")
            if cursor is None:
                break
        assert [email for email in seen if email in old] == old
        assert len(seen) == len(set(seen))

    async def test_both_databases_sort_by_bytes(self, admin: Caller, runtime: Runtime) -> None:
        made = [f"{local}@sorted.example.com" for local in LOCALS]
        await add_users(runtime, made, name="Sorted")
        expected = sorted(made, key=lambda email: email.encode())
        assert emails(await admin.walk(USERS, sort="email", limit=3, q="sorted")) == expected
        assert emails(await admin.walk(USERS, sort="-email", limit=3, q="sorted")) == expected[::-1]

    @pytest.mark.parametrize("limit", ["0", "-1", "101", "x", "1.5", "", "9" * 30])
    async def test_a_limit_that_is_none(self, admin: Caller, limit: str) -> None:
        assert (await admin.call("GET", USERS, params={"limit": limit})).status_code == 422


class TestCursors:
    async def cursor(self, admin: Caller, runtime: Runtime, **parameters: Any) -> str:
        await add_users(runtime, [f"user{number}@example.com" for number in range(5)])
        response = await admin.call("GET", USERS, params={"limit": 2} | parameters)
        cursor: str = response.json()["page"]["next_cursor"]
        return cursor

    @pytest.mark.parametrize(
        "other",
        [{"sort": "email"}, {"sort": "created_at"}, {"q": "u"}, {"role": "user"}, {"status": "active"}],
    )
    async def test_of_another_order_or_filter(
        self, admin: Caller, runtime: Runtime, other: dict[str, str]
    ) -> None:
        cursor = await self.cursor(admin, runtime)
        response = await admin.call("GET", USERS, params=other | {"cursor": cursor})
        assert response.status_code == 422
        assert response.json()["error"]["code"] == "invalid_cursor"
        assert response.json()["error"]["fields"][0]["loc"] == ["query", "cursor"]

    async def test_another_limit_is_fine(self, admin: Caller, runtime: Runtime) -> None:
        cursor = await self.cursor(admin, runtime)
        assert len(await admin.read(USERS, cursor=cursor, limit=3)) == 3

    @pytest.mark.parametrize(
        "change",
        [
            {"after": []},
            {"after": ["2026-01-01T00:00:00+00:00"]},
            {"after": ["2026-01-01T00:00:00", "01981d5a6c0e7cc398c4dc0c0c07398f"]},
            {"after": ["2026-01-01T00:00:00+02:00", "01981d5a6c0e7cc398c4dc0c0c07398f"]},
            {"after": ["0001-01-01T00:00:00+14:00", "01981d5a6c0e7cc398c4dc0c0c07398f"]},
            {"after": ["2026-01-01T00:00:00+00:00", "nonsense"]},
            {"after": ["2026-01-01T00:00:00+00:00", 1]},
            {"after": [1, "01981d5a6c0e7cc398c4dc0c0c07398f"]},
            {"after": [None, None]},
            {"after": {}},
            {"after": "ab"},
            {"after": None},
            {"list": "users"},
            {"list": None},
            {"more": 1},
        ],
    )
    async def test_made_up(self, admin: Caller, runtime: Runtime, change: dict[str, Any]) -> None:
        cursor = await self.cursor(admin, runtime)
        document = json.loads(base64.urlsafe_b64decode(cursor + "=="))
        forged = json.dumps(document | change, separators=(",", ":")).encode()
        await self.refused(admin, base64.urlsafe_b64encode(forged).rstrip(b"=").decode())

    @pytest.mark.parametrize(
        "text", ["x", "e30", "W10", "bnVsbA", "e30=", "!!!", "ée", "A" * 1999, "W1tbW1s", "_w"]
    )
    async def test_garbage(self, admin: Caller, text: str) -> None:
        await self.refused(admin, text)

    @pytest.mark.parametrize("key", ["\x00", "a\x00b", "\ud800"])
    async def test_text_that_no_database_takes(self, admin: Caller, runtime: Runtime, key: str) -> None:
        cursor = await self.cursor(admin, runtime, sort="email")
        document = json.loads(base64.urlsafe_b64decode(cursor + "=="))
        forged = json.dumps(document | {"after": [key]}, separators=(",", ":")).encode()
        await self.refused(admin, base64.urlsafe_b64encode(forged).rstrip(b"=").decode(), sort="email")

    async def refused(self, admin: Caller, cursor: str, **parameters: str) -> None:
        response = await admin.call("GET", USERS, params=parameters | {"cursor": cursor})
        assert response.status_code == 422, response.text
        assert response.json()["error"]["code"] == "invalid_cursor"


class TestSearch:
    @pytest.mark.parametrize(
        ("q", "found"),
        [
            ("ada", {"ada@example.com", "x1@example.com"}),
            ("ADA", {"ada@example.com", "x1@example.com"}),
            (" ada ", {"ada@example.com", "x1@example.com"}),
            ("ａｄａ@", {"ada@example.com"}),
            ("ada@example.com", {"ada@example.com"}),
            ("Ada Lov", {"x1@example.com"}),
            ("lovelace", set()),
            ("example", set()),
            ("ÄRZTE", {"x2@example.com"}),
            ("ä", {"x2@example.com"}),
            ("%", {"x3@example.com"}),
            ("%'", {"x3@example.com"}),
            ("_", set()),
            ("a_a", set()),
            ("a%", set()),
            ("ad.", set()),
            ("ad.*", set()),
            (".*", set()),
            (".*+?(", set()),
            ("[a]", set()),
            ("*", set()),
            ("(", {"x4@example.com"}),
            ("(.*+?", {"x4@example.com"}),
            ("\\", {"x5@example.com"}),
            ("\\_", {"x5@example.com"}),
            ("' OR 1=1 --", set()),
        ],
    )
    async def test_every_character_stands_for_itself(
        self, admin: Caller, runtime: Runtime, q: str, found: set[str]
    ) -> None:
        await add_users(runtime, ["ada@example.com"], name="Nobody")
        for number, name in enumerate(
            ["Ada Lovelace", "Ärzte", "%' percent", "(.*+?) brackets", "\\_ slash"], 1
        ):
            await add_users(runtime, [f"x{number}@example.com"], name=name)
        assert {user["email"] for user in await admin.read(USERS, q=q)} - {admin.account.email} == found

    @pytest.mark.parametrize("q", ["", "x" * 101, "a\nb", "\x7f"])
    async def test_what_cannot_be_searched_for(self, admin: Caller, q: str) -> None:
        assert (await admin.call("GET", USERS, params={"q": q})).status_code == 422

    async def test_the_trail_does_not_keep_the_text(self, admin: Caller) -> None:
        await admin.read(USERS, q="hunter2", role="user", status="active")
        (event,) = await admin.read(EVENTS, action="admin.users.listed")
        assert event["details"] == {
            "searched": True,
            "role": "user",
            "status": "active",
            "sort": "-created_at",
            "count": 0,
        }


class TestFilters:
    async def test_by_role_and_status(self, admin: Caller, accounts: Accounts) -> None:
        ann, bob = await accounts.register("ann@example.com"), await accounts.register("bob@example.com")
        await accounts.with_roles("auditor", "user", email="eve@example.com")
        await admin.send("POST", f"{USERS}/{ann.id}/disable")
        for parameters, found in [
            ({"role": "user"}, {"ann@example.com", "bob@example.com", "eve@example.com"}),
            ({"role": "auditor"}, {"eve@example.com"}),
            ({"role": "admin"}, {admin.account.email}),
            ({"role": "nobody-has-it"}, set()),
            ({"status": "disabled"}, {"ann@example.com"}),
            ({"status": "active"}, {"bob@example.com", "eve@example.com", admin.account.email}),
            ({"status": "active", "role": "user"}, {"bob@example.com", "eve@example.com"}),
            ({"status": "active", "role": "user", "q": "b"}, {bob.email}),
        ]:
            for sort in ("email", "created_at"):
                pages = await admin.walk(USERS, **parameters, sort=sort, limit=1)
                assert set(emails(pages)) == found, parameters
                assert len(emails(pages)) == len(found)

    @pytest.mark.parametrize(
        "parameters",
        [
            {"status": "gone"},
            {"sort": "full_name"},
            {"sort": "+email"},
            {"role": "Not A Role"},
            {"page": "2"},
        ],
    )
    async def test_a_value_that_is_none(self, admin: Caller, parameters: dict[str, str]) -> None:
        assert (await admin.call("GET", USERS, params=parameters)).status_code == 422
