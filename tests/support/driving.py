"""Everything that authapi does, done once: each route with each filter, and a round of each loop."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pyotp
from fastapi import FastAPI

from authapi import clock
from authapi.enums import MailState
from authapi.runtime import Runtime
from authapi.services import account_deletion, audit_chain, housekeeping, mail_administration
from tests.api.admin.support import EVENTS, INVITATIONS, NOBODY, STATS, USERS, Caller
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.clients import register_client
from tests.support.crowds import email
from tests.support.mails import Mails


async def drive_everything(app: FastAPI, client: httpx.AsyncClient) -> dict[str, Any]:
    """Do it all on a crowd (`crowds.make_crowd`); returns the statistics that an administrator got."""
    runtime: Runtime = app.state.runtime
    accounts = Accounts(client, runtime)
    root = Caller(client, await accounts.admin("root@example.net"))
    await drive_account(app, client, accounts)
    await drive_sessions(client, accounts)
    await drive_second_factors(client, accounts)
    statistics = await drive_lists(client, root)
    await drive_administration(client, accounts, root)
    await drive_services(client, runtime, root.account)
    await drive_loops(runtime, root.account)
    return statistics


async def post(client: httpx.AsyncClient, path: str, who: Account | None = None, **body: Any) -> Any:
    """The data of an answer that must be a success."""
    headers = who.headers if who else None
    response = await client.post(f"/api/auth/{path}", json=body or None, headers=headers)
    assert response.is_success, (path, response.text)
    return response.json()["data"]


async def drive_account(app: FastAPI, client: httpx.AsyncClient, accounts: Accounts) -> None:
    mails = Mails(app)
    ann = await accounts.register("ann@example.net")
    await post(client, "email/verify", token=await mails.token("ann@example.net", "/verify-email"))
    await post(client, "email/verify/resend", email=email(1))
    await post(client, "password/forgot", email="ann@example.net")
    token = await mails.token("ann@example.net", "/reset-password")
    await post(client, "password/reset", token=token, new_password=PASSWORD)
    ann = await accounts.log_in(ann)
    change = {"current_password": PASSWORD, "new_password": f"{PASSWORD}!"}
    await post(client, "password/change", ann, **change)
    await post(client, "email/change", ann, new_email="eva@example.net", password=f"{PASSWORD}!")
    token = await mails.token("eva@example.net", "/confirm-email-change")
    await post(client, "email/change/confirm", token=token)
    token = await mails.token("ann@example.net", "/undo-email-change")
    await post(client, "email/change/undo", token=token)
    bob = await accounts.register("bob@example.net")
    for path in ("", "/activity", "/activity?limit=1", "/export"):
        assert (await client.get(f"/api/profile{path}", headers=bob.headers)).is_success
    patched = await client.patch(
        "/api/profile", json={"discoverable": True, "full_name": "Bob"}, headers=bob.headers
    )
    assert patched.is_success, patched.text
    deleted = await client.request("DELETE", "/api/profile", json={"password": PASSWORD}, headers=bob.headers)
    assert deleted.is_success, deleted.text


async def drive_sessions(client: httpx.AsyncClient, accounts: Accounts) -> None:
    cyd = await accounts.register("cyd@example.net")
    wrong = {"email": cyd.email, "password": "wrong"}
    assert (await client.post("/api/auth/login", json=wrong)).status_code == 401
    other = await accounts.log_in(cyd)
    await post(client, "refresh", refresh_token=cyd.data["refresh_token"])
    # The same one again: the grace.
    await post(client, "refresh", refresh_token=cyd.data["refresh_token"])
    await post(client, "reauthenticate", other, password=PASSWORD)
    sessions = await client.get("/api/auth/sessions", headers=cyd.headers)
    ids = [each["id"] for each in sessions.json()["data"] if not each["current"]]
    assert (await client.delete(f"/api/auth/sessions/{ids[0]}", headers=cyd.headers)).is_success
    await post(client, "logout", cyd)
    await post(client, "logout-all", await accounts.log_in(cyd))
    assert (await client.post("/login", auth=(cyd.email, PASSWORD))).is_success


async def drive_second_factors(client: httpx.AsyncClient, accounts: Accounts) -> None:
    dan = await accounts.register("dan@example.net")
    secret = (await post(client, "mfa/totp", dan, password=PASSWORD))["secret"]
    app = pyotp.TOTP(secret)
    codes = (await post(client, "mfa/totp/confirm", dan, code=app.at(clock.utc_now())))["recovery_codes"]
    begun = await post(client, "login", email=dan.email, password=PASSWORD)
    proven = await post(client, "login/mfa", mfa_token=begun["mfa_token"], code=codes[0])
    dan = replace(dan, access_token=proven["access_token"])
    await post(client, "mfa/recovery-codes", dan, password=PASSWORD)
    later = app.at(clock.utc_now() + timedelta(seconds=30))
    removed = await client.request(
        "DELETE", "/api/auth/mfa/totp", json={"password": PASSWORD, "code": later}, headers=dan.headers
    )
    assert removed.is_success, removed.text


async def drive_lists(client: httpx.AsyncClient, root: Caller) -> dict[str, Any]:
    """Every filter, by time and by address, the first page and the one behind it."""
    in_spring = {
        name: (clock.utc_now() - timedelta(days=days)).isoformat()
        for name, days in (("since", 200), ("until", 199))
    }
    user_filters: list[dict[str, str]] = [
        {},
        {"q": "ada l"},
        {"q": "no such user"},
        {"role": "auditor"},
        {"role": "user", "q": "user78"},
        {"role": "admin", "status": "active"},
        {"status": "disabled"},
        {"status": "deleted"},
    ]
    event_filters: list[dict[str, str]] = [
        {},
        {"action": "user.login.failed"},
        {"action": "user.deleted"},
        {"outcome": "failure"},
        {"outcome": "success"},
        {"actor_id": str(root.account.id)},
        {"subject_id": str(root.account.id)},
        {"subject_id": NOBODY, "actor_id": NOBODY},
        {"ip": "203.0.113.7"},
        {"ip": "198.51.100.9", "action": "user.login.failed"},
        in_spring,
        {"until": in_spring["until"]},
        {"until": in_spring["until"], "action": "user.login.succeeded"},
        {"until": in_spring["until"], "outcome": "failure"},
        in_spring | {"action": "user.registered"},
    ]
    lists = [
        (USERS, filters | {"sort": sort}) for filters in user_filters for sort in ("-created_at", "email")
    ]
    lists += [(EVENTS, filters) for filters in event_filters]
    for path, parameters in lists:
        response = await root.call("GET", path, params=parameters | {"limit": 3})
        assert response.is_success, (parameters, response.text)
        cursor = response.json()["page"]["next_cursor"]
        if cursor is not None:
            await root.call("GET", path, params=parameters | {"cursor": cursor})
    assert (await client.get("/metrics")).is_success
    assert (await client.get("/api/public/search", params={"q": "lovelace"})).is_success
    statistics: dict[str, Any] = await root.read(STATS)
    return statistics


async def drive_administration(client: httpx.AsyncClient, accounts: Accounts, root: Caller) -> None:
    fay = {"email": "fay@example.net", "full_name": "Fay", "password": PASSWORD}
    made = await root.send("POST", USERS, fay)
    one = f"{USERS}/{made['id']}"
    await root.read(one)
    await root.send("PATCH", one, {"email": "fay2@example.net", "full_name": "Fay Two"})
    await root.send("PUT", f"{one}/roles", {"roles": ["admin"]})
    assert (await root.call("POST", f"{one}/mfa-reset")).status_code == 404
    for verb in ("verify-email", "logout", "unlock", "password-reset", "disable", "enable"):
        assert (await root.call("POST", f"{one}/{verb}")).is_success, verb
    await root.send("DELETE", one)
    assert (await root.call("POST", INVITATIONS, json={"email": "gil@example.net"})).is_success
    role = await root.make_role("support", "users:read")
    await root.send(
        "PUT", f"{USERS}/{(await accounts.register('hal@example.net')).id}/roles", {"roles": ["support"]}
    )
    await root.send("PATCH", f"/api/admin/roles/{role['id']}", {"permissions": ["users:write"]})


async def drive_services(client: httpx.AsyncClient, runtime: Runtime, somebody: Account) -> None:
    service = await register_client(runtime, "revocations:read")
    for path in ("introspect", "revoke"):
        form = {"token": somebody.data["refresh_token"]}
        assert (await client.post(f"/api/auth/{path}", data=form, auth=service.basic)).is_success
    everything = await client.get("/api/auth/revocations", auth=service.basic)
    # The plan that matters is that of reading on, of which there is much more than of reading it all.
    since = {"since": everything.json()["data"]["cursor"]}
    assert (await client.get("/api/auth/revocations", params=since, auth=service.basic)).is_success
    grant = {"grant_type": "password", "username": somebody.email, "password": PASSWORD}
    granted = await client.post("/api/auth/token", data=grant)
    assert granted.is_success, granted.text


async def drive_loops(runtime: Runtime, somebody: Account) -> None:
    removed = await housekeeping.purge(runtime)
    assert "users" in removed
    async with runtime.database.unit_of_work() as db:
        await audit_chain.seal(db, runtime)
    async with runtime.database.unit_of_work() as db:
        await account_deletion.erase(db, user_id=somebody.id)
    async with runtime.database.reading() as db:
        await mail_administration.list_mails(db, state=MailState.DEAD, limit=10)
