"""The audit trail and the statistics over HTTP."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update

from authapi import clock
from authapi.models import AuditEvent
from authapi.models.base import lowest_id
from authapi.runtime import Runtime
from tests.api.admin.support import EVENTS, NOBODY, PERMISSIONS, ROLES, STATS, USERS, Caller
from tests.support.accounts import PASSWORD, Accounts


async def move(runtime: Runtime, event_id: str, *, to: datetime) -> None:
    """Make an event of another time, which its key tells too."""
    key = UUID(int=lowest_id(to, leeway=timedelta(0)).int | UUID(event_id).int & (1 << 76) - 1)
    async with runtime.database.unit_of_work() as db:
        statement = update(AuditEvent).where(AuditEvent.id == UUID(event_id))
        await db.execute(statement.values(id=key, occurred_at=to))


class TestEvents:
    async def test_one(self, client: httpx.AsyncClient, auditor: Caller) -> None:
        wrong = {"email": auditor.account.email, "password": "wrong"}
        response = await client.post("/api/auth/login", json=wrong, headers={"User-Agent": "curl/8"})
        (event,) = await auditor.read(EVENTS, action="user.login.failed")
        assert event.pop("occurred_at").endswith("Z")
        UUID(event.pop("id"))
        assert event == {
            "action": "user.login.failed",
            "outcome": "failure",
            "reason": "wrong_password",
            "actor_id": None,
            "subject_id": str(auditor.account.id),
            "user_session_id": None,
            "ip": "203.0.113.7",
            "user_agent": "curl/8",
            "request_id": response.headers["X-Request-ID"],
            "details": {},
        }

    async def test_newest_first_each_once(self, auditor: Caller, accounts: Accounts) -> None:
        account = await accounts.register()
        for _ in range(26):
            await accounts.log_in(account)
        pages = await auditor.walk(EVENTS, subject_id=str(account.id), limit=10)
        events = [event for page in pages for event in page]
        assert [len(page) for page in pages] == [10, 10, 7]
        assert [event["id"] for event in events] == sorted({event["id"] for event in events}, reverse=True)
        assert [event["action"] for event in events] == ["user.login.succeeded"] * 26 + ["user.registered"]

    async def test_stable_while_it_grows(self, auditor: Caller) -> None:
        """Reading writes an event, and yet the walk comes to an end."""
        pages = await auditor.walk(EVENTS, limit=1)
        actions = [page[0]["action"] for page in pages]
        assert actions.count("admin.audit_events.listed") == 0
        assert len(await auditor.read(EVENTS, action="admin.audit_events.listed")) == len(pages)

    async def test_filters(
        self, client: httpx.AsyncClient, admin: Caller, auditor: Caller, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        wrong = {"email": account.email, "password": "wrong"}
        await client.post("/api/auth/login", json=wrong)
        await admin.send("POST", f"{USERS}/{account.id}/disable")
        subject = str(account.id)
        for parameters, actions in [
            (
                {"subject_id": subject},
                ["user.disabled", "session.revoked", "user.login.failed", "user.registered"],
            ),
            ({"subject_id": subject, "outcome": "failure"}, ["user.login.failed"]),
            ({"subject_id": subject, "action": "user.registered"}, ["user.registered"]),
            (
                {"subject_id": subject, "actor_id": str(admin.account.id)},
                ["user.disabled", "session.revoked"],
            ),
            ({"subject_id": subject, "ip": "198.51.100.1"}, []),
            ({"outcome": "failure", "ip": "::ffff:203.0.113.7"}, []),
            ({"outcome": "failure", "ip": "203.0.113.7"}, ["user.login.failed"]),
            ({"subject_id": NOBODY}, []),
        ]:
            found = [event["action"] for event in await auditor.read(EVENTS, **parameters)]
            assert found == actions, parameters

    async def test_since_and_until(self, auditor: Caller, accounts: Accounts, runtime: Runtime) -> None:
        account = await accounts.register()
        for _ in range(3):
            await accounts.log_in(account)
        logins = await auditor.read(EVENTS, subject_id=str(account.id), action="user.login.succeeded")
        start = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
        for number, event in enumerate(reversed(logins)):
            await move(runtime, event["id"], to=start + timedelta(hours=number))
        for parameters, hours in [
            ({"since": "2026-03-01T12:00:00Z", "until": "2026-03-01T14:00:00Z"}, [13, 12]),
            ({"since": "2026-03-01T13:00:00Z", "until": "2026-04-01T00:00:00Z"}, [14, 13]),
            ({"since": "2026-03-01T15:00:00+02:00", "until": "2026-04-01T00:00:00Z"}, [14, 13]),
            ({"until": "2026-03-01T12:00:00.000001Z"}, [12]),
            ({"until": "2026-03-01T12:00:00Z"}, []),
        ]:
            events = await auditor.read(EVENTS, **parameters)
            assert [datetime.fromisoformat(event["occurred_at"]).hour for event in events] == hours, (
                parameters
            )

    @pytest.mark.parametrize(
        "parameters",
        [
            {"action": "user.danced"},
            {"outcome": "maybe"},
            {"actor_id": "me"},
            {"subject_id": "1"},
            {"ip": "nowhere"},
            {"since": "yesterday"},
            {"since": "2026-03-01T12:00:00"},
            {"until": "2026-03-01"},
            {"limit": "101"},
            {"cursor": "x"},
            {"q": "x"},
        ],
    )
    async def test_a_value_that_is_none(self, auditor: Caller, parameters: dict[str, str]) -> None:
        assert (await auditor.call("GET", EVENTS, params=parameters)).status_code == 422

    @pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
    async def test_an_instant_at_the_end_of_time(self, auditor: Caller, since: str) -> None:
        for name in ("since", "until"):
            assert (await auditor.call("GET", EVENTS, params={name: since})).status_code == 422

    async def test_a_cursor_of_another_filter(self, auditor: Caller) -> None:
        cursor = (await auditor.call("GET", EVENTS, params={"limit": 1})).json()["page"]["next_cursor"]
        for parameters in ({"outcome": "success"}, {"since": "2026-01-01T00:00:00Z"}):
            response = await auditor.call("GET", EVENTS, params=parameters | {"cursor": cursor})
            assert response.json()["error"]["code"] == "invalid_cursor"
        response = await auditor.call("GET", USERS, params={"cursor": cursor})
        assert response.json()["error"]["code"] == "invalid_cursor"

    async def test_no_secret_gets_in(self, admin: Caller, client: httpx.AsyncClient) -> None:
        body = {"email": "new@example.com", "full_name": "Needle", "password": PASSWORD}
        user = await admin.send("POST", USERS, body)
        await admin.send("PATCH", f"{USERS}/{user['id']}", {"phone": "+44 20 7946"})
        await admin.read(USERS, q="needle")
        await client.post("/api/auth/login", json={"email": "new@example.com", "password": "Needle"})
        trail = str(await admin.read(EVENTS, limit=100))
        for secret in (PASSWORD, "7946", "eedle", "new@example.com", admin.account.access_token):
            assert secret not in trail


class TestReadingIsOnRecord:
    @pytest.mark.parametrize(
        ("path", "action"),
        [
            (USERS, "admin.users.listed"),
            (ROLES, "admin.roles.listed"),
            (PERMISSIONS, "admin.permissions.listed"),
            (EVENTS, "admin.audit_events.listed"),
            (STATS, "admin.statistics.read"),
        ],
    )
    async def test_lists(self, auditor: Caller, path: str, action: str) -> None:
        await auditor.read(path)
        event = (await auditor.read(EVENTS, action=action))[0]
        assert (event["actor_id"], event["outcome"]) == (str(auditor.account.id), "success")
        assert event["user_session_id"]

    async def test_single_rows(self, auditor: Caller) -> None:
        role = (await auditor.read(ROLES))[0]
        permission = (await auditor.read(PERMISSIONS))[0]
        for path, action, details in (
            (f"{ROLES}/{role['id']}", "admin.role.read", {"role": "admin"}),
            (f"{PERMISSIONS}/{permission['id']}", "admin.permission.read", {"permission": "audit:read"}),
        ):
            await auditor.read(path)
            assert [event["details"] for event in await auditor.read(EVENTS, action=action)] == [details]

    async def test_filters_of_the_trail(self, auditor: Caller) -> None:
        await auditor.read(EVENTS, action="user.deleted", since="2026-03-01T14:00:00+02:00", ip="::1")
        details: dict[str, Any] = (await auditor.read(EVENTS, action="admin.audit_events.listed"))[0][
            "details"
        ]
        assert {name: value for name, value in details.items() if value is not None} == {
            "action": "user.deleted",
            "ip": "::1",
            "since": "2026-03-01T12:00:00+00:00",
            "count": 0,
        }


class TestStats:
    async def test_counts(
        self, client: httpx.AsyncClient, admin: Caller, auditor: Caller, accounts: Accounts, runtime: Runtime
    ) -> None:
        accounts_made = [await accounts.register() for _ in range(3)]
        await accounts.log_in(accounts_made[0])
        wrong = {"email": accounts_made[0].email, "password": "wrong"}
        await client.post("/api/auth/login", json=wrong)
        await admin.send("POST", f"{USERS}/{accounts_made[1].id}/disable")
        registered = await admin.read(EVENTS, action="user.registered")
        now = clock.utc_now()
        await move(runtime, registered[0]["id"], to=now - timedelta(hours=25))
        await move(runtime, registered[1]["id"], to=now - timedelta(days=8))
        assert await auditor.read(STATS) == {
            "total_users": 5,
            "active_users": 4,
            "disabled_users": 1,
            "estimated": False,
            "users_by_role": {"admin": 1, "auditor": 1, "user": 3},
            "last_24_hours": {"registrations": 3, "logins": 3, "failed_logins": 1},
            "last_7_days": {"registrations": 4, "logins": 3, "failed_logins": 1},
        }
