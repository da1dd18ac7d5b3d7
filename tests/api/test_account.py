"""Changing password and e-mail, invitations, leaving, and administrators' help, over HTTP."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
import time_machine
from fastapi import FastAPI

from authapi import clock
from authapi.repositories import users
from authapi.services import housekeeping, user_provisioning
from authapi.services.login_throttle import ACCOUNT, CODE, PAIR
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.authenticators import enroll
from tests.support.mails import Mails, new_address

ME = "/api/auth/me"
LOGIN = "/api/auth/login"
CHANGE = "/api/auth/email/change"
NEW_PASSWORD = "another Horse 8 battery"


def code(response: httpx.Response) -> str:
    error_code: str = response.json()["error"]["code"]
    return error_code


@pytest.fixture
def mails(app: FastAPI) -> Mails:
    return Mails(app)


async def log_in(client: httpx.AsyncClient, email: str, password: str) -> int:
    return (await client.post(LOGIN, json={"email": email, "password": password})).status_code


async def reset_password(client: httpx.AsyncClient, mails: Mails, email: str) -> None:
    """Choose `NEW_PASSWORD` with the newest link."""
    body = {"token": await mails.token(email, "/reset-password"), "new_password": NEW_PASSWORD}
    assert (await client.post("/api/auth/password/reset", json=body)).status_code == 200


class TestChangePassword:
    PATH = "/api/auth/password/change"

    async def test_ends_the_other_sessions_and_tells_the_owner(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        other = await accounts.log_in(account)
        body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        response = await client.post(self.PATH, json=body, headers=account.headers)
        assert response.status_code == 200
        assert (await client.get(ME, headers=account.headers)).status_code == 200
        assert (await client.get(ME, headers=other.headers)).status_code == 401
        assert await log_in(client, account.email, PASSWORD) == 401
        assert await log_in(client, account.email, NEW_PASSWORD) == 200
        assert "password_changed" in await mails.written_to(account.email)

    @pytest.mark.parametrize(
        ("current", "new", "expected"),
        [
            ("wrong", NEW_PASSWORD, "invalid_credentials"),
            (PASSWORD, "short", "weak_password"),
            (PASSWORD, PASSWORD, "weak_password"),
        ],
    )
    async def test_refusals_change_nothing(
        self, client: httpx.AsyncClient, accounts: Accounts, current: str, new: str, expected: str
    ) -> None:
        account = await accounts.register()
        body = {"current_password": current, "new_password": new}
        response = await client.post(self.PATH, json=body, headers=account.headers)
        assert code(response) == expected
        assert await log_in(client, account.email, PASSWORD) == 200

    async def test_of_two_at_once_one_wins(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        passwords = [f"another Horse {number} battery" for number in range(5)]
        responses = await asyncio.gather(
            *(
                client.post(
                    self.PATH,
                    json={"current_password": PASSWORD, "new_password": password},
                    headers=account.headers,
                )
                for password in passwords
            )
        )
        changed = [p for p, r in zip(passwords, responses, strict=True) if r.status_code == 200]
        assert len(changed) == 1
        assert {r.status_code for r in responses} <= {200, 401, 409}
        assert await log_in(client, account.email, changed[0]) == 200


class TestChangeEmail:
    PATH = "/api/auth/email/change"

    async def request(self, client: httpx.AsyncClient, account: Account, new_email: str) -> httpx.Response:
        body = {"new_email": new_email, "password": PASSWORD}
        return await client.post(self.PATH, json=body, headers=account.headers)

    async def test_confirmed_there_undone_from_the_old_address(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        new = new_address()
        assert (await self.request(client, account, new)).status_code == 202
        assert await log_in(client, new, PASSWORD) == 401
        token = await mails.token(new, "/confirm-email-change")
        confirmed = await client.post(f"{self.PATH}/confirm", json={"token": token})
        assert confirmed.status_code == 200
        assert await log_in(client, new, PASSWORD) == 200
        assert await log_in(client, account.email, PASSWORD) == 401
        # The old token says the old address.
        assert (await client.get(ME, headers=account.headers)).status_code == 401
        assert (
            code(await client.post(f"{self.PATH}/confirm", json={"token": token})) == "invalid_one_time_token"
        )

        undo = await mails.token(account.email, "/undo-email-change")
        assert (await client.post(f"{self.PATH}/undo", json={"token": undo})).status_code == 200
        assert await log_in(client, new, PASSWORD) == 401
        # Whoever changed it knew the password.
        assert await log_in(client, account.email, PASSWORD) == 401
        await reset_password(client, mails, account.email)
        assert await log_in(client, account.email, NEW_PASSWORD) == 200

    async def test_a_taken_address_is_answered_alike(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account, owner = await accounts.register(), await accounts.register(new_address())
        taken = await self.request(client, account, owner.email)
        free = await self.request(client, account, new_address())
        assert taken.status_code == free.status_code == 202
        assert taken.json() == free.json()
        assert "already_registered" in await mails.written_to(owner.email)
        assert "change_email" not in await mails.written_to(owner.email)

    async def test_an_address_that_was_taken_meanwhile(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register()
        new = new_address()
        await self.request(client, account, new)
        token = await mails.token(new, "/confirm-email-change")
        await accounts.register(new)
        assert (
            code(await client.post(f"{self.PATH}/confirm", json={"token": token})) == "invalid_one_time_token"
        )

    async def test_fifty_at_once_confirm_once(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register()
        new = new_address()
        await self.request(client, account, new)
        body = {"token": await mails.token(new, "/confirm-email-change")}
        responses = await asyncio.gather(*(client.post(f"{self.PATH}/confirm", json=body) for _ in range(50)))
        assert [r.status_code for r in responses].count(200) == 1


class TestTakenOver:
    """A stranger has a user's password and changes the address; the user undoes that from the old one."""

    @pytest.fixture(autouse=True)
    def _use(self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails) -> None:
        self.client, self.accounts, self.mails = client, accounts, mails

    async def change(self, account: Account, new: str) -> Account:
        """Change the address, and log in with the new one."""
        body = {"new_email": new, "password": PASSWORD}
        assert (await self.client.post(CHANGE, json=body, headers=account.headers)).status_code == 202
        token = await self.mails.token(new, "/confirm-email-change")
        assert (await self.client.post(f"{CHANGE}/confirm", json={"token": token})).status_code == 200
        return await self.accounts.log_in(replace(account, email=new))

    async def undo(self, token: str) -> int:
        return (await self.client.post(f"{CHANGE}/undo", json={"token": token})).status_code

    async def test_a_change_that_waits_dies_with_the_undo(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account, pending = await accounts.register(new_address()), new_address()
        stranger = await self.change(account, new_address())
        body = {"new_email": pending, "password": PASSWORD}
        assert (await client.post(CHANGE, json=body, headers=stranger.headers)).status_code == 202
        assert await self.undo(await mails.token(account.email, "/undo-email-change")) == 200
        confirm = {"token": await mails.token(pending, "/confirm-email-change")}
        assert code(await client.post(f"{CHANGE}/confirm", json=confirm)) == "invalid_one_time_token"

    @pytest.mark.parametrize("stranger_undoes_first", [False, True])
    async def test_a_second_change_does_not_cut_off_the_way_back(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails, stranger_undoes_first: bool
    ) -> None:
        account, between = await accounts.register(new_address()), new_address()
        stranger = await self.change(account, between)
        await self.change(stranger, new_address())
        owners = await mails.token(account.email, "/undo-email-change")
        strangers = await mails.token(between, "/undo-email-change")
        if stranger_undoes_first:
            assert await self.undo(strangers) == 200
        assert await self.undo(owners) == 200
        assert await self.undo(strangers) == 400
        await reset_password(client, mails, account.email)
        assert await log_in(client, account.email, NEW_PASSWORD) == 200

    async def test_who_registers_the_old_address_without_verifying_it_gives_way(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        await self.change(account, new_address())
        squatter = await accounts.register(account.email)
        assert await self.undo(await mails.token(account.email, "/undo-email-change")) == 200
        assert (await client.get(ME, headers=squatter.headers)).status_code == 401
        await reset_password(client, mails, account.email)
        assert await log_in(client, account.email, NEW_PASSWORD) == 200

    async def test_who_has_verified_the_old_address_stays(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        await self.change(account, new_address())
        undo = await mails.token(account.email, "/undo-email-change")
        holder = await accounts.register(account.email)
        verify = {"token": await mails.token(account.email, "/verify-email", count=2)}
        assert (await client.post("/api/auth/email/verify", json=verify)).status_code == 200
        assert await self.undo(undo) == 400
        assert (await client.get(ME, headers=holder.headers)).status_code == 200

    async def test_a_second_factor_of_the_stranger_goes(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        stranger = await self.change(account, new_address())
        await enroll(client, stranger)
        assert await self.undo(await mails.token(account.email, "/undo-email-change")) == 200
        await reset_password(client, mails, account.email)
        # 200 without a challenge.
        body = {"email": account.email, "password": NEW_PASSWORD}
        assert "access_token" in (await client.post(LOGIN, json=body)).json()["data"]

    async def test_a_second_factor_from_before_stays(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        body = {"new_email": new_address(), "password": PASSWORD}
        assert (await client.post(CHANGE, json=body, headers=account.headers)).status_code == 202
        await enroll(client, account)
        token = await mails.token(body["new_email"], "/confirm-email-change")
        assert (await client.post(f"{CHANGE}/confirm", json={"token": token})).status_code == 200
        assert await self.undo(await mails.token(account.email, "/undo-email-change")) == 200
        await reset_password(client, mails, account.email)
        login = await client.post(LOGIN, json={"email": account.email, "password": NEW_PASSWORD})
        assert login.json()["data"]["mfa_required"] is True

    async def test_a_deletion_by_the_stranger_is_taken_back(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account = await accounts.register(new_address())
        stranger = await self.change(account, new_address())
        deleted = await client.request(
            "DELETE", "/api/profile", json={"password": PASSWORD}, headers=stranger.headers
        )
        assert deleted.status_code == 200
        assert await self.undo(await mails.token(account.email, "/undo-email-change")) == 200
        await reset_password(client, mails, account.email)
        assert await log_in(client, account.email, NEW_PASSWORD) == 200

    async def test_a_deletion_by_an_administrator_is_not(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        account, admin = await accounts.register(new_address()), await accounts.admin()
        await self.change(account, new_address())
        path = f"/api/admin/users/{account.id}"
        assert (await client.delete(path, headers=admin.headers)).status_code == 200
        assert await self.undo(await mails.token(account.email, "/undo-email-change")) == 400

    @pytest.mark.parametrize("ended_by", ["password", "logout-all", "administrator", "reset"])
    async def test_a_change_that_waits_ends_with_the_sessions(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails, ended_by: str
    ) -> None:
        account, admin, new = await accounts.register(new_address()), await accounts.admin(), new_address()
        body = {"new_email": new, "password": PASSWORD}
        assert (await client.post(CHANGE, json=body, headers=account.headers)).status_code == 202
        calls = {
            "password": (
                "/api/auth/password/change",
                {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
                account,
            ),
            "logout-all": ("/api/auth/logout-all", None, account),
            "administrator": (f"/api/admin/users/{account.id}/logout", None, admin),
            "reset": (f"/api/admin/users/{account.id}/password-reset", None, admin),
        }
        path, content, caller = calls[ended_by]
        assert (await client.post(path, json=content, headers=caller.headers)).is_success
        confirm = {"token": await mails.token(new, "/confirm-email-change")}
        assert code(await client.post(f"{CHANGE}/confirm", json=confirm)) == "invalid_one_time_token"

    async def test_half_a_login_with_the_old_password_ends_with_it(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register(new_address())
        phone = await enroll(client, account)
        credentials = {"email": account.email, "password": PASSWORD}
        half = (await client.post(LOGIN, json=credentials)).json()["data"]
        second_step = {"mfa_token": half["mfa_token"], "code": phone.recovery_codes[0]}
        whole = (await client.post(f"{LOGIN}/mfa", json=second_step)).json()["data"]
        headers = {"Authorization": f"Bearer {whole['access_token']}"}
        half = (await client.post(LOGIN, json=credentials)).json()["data"]
        body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        changed = await client.post("/api/auth/password/change", json=body, headers=headers)
        assert changed.status_code == 200
        completed = await client.post(
            f"{LOGIN}/mfa", json={"mfa_token": half["mfa_token"], "code": phone.recovery_codes[1]}
        )
        assert code(completed) == "invalid_mfa_token"


class TestInvitations:
    ACCEPT = "/api/auth/invitation/accept"

    async def invite(self, client: httpx.AsyncClient, admin: Account, email: str, *roles: str) -> None:
        body = {"email": email, "roles": list(roles)}
        response = await client.post("/api/admin/invitations", json=body, headers=admin.headers)
        assert response.status_code == 202, response.text

    async def accept(self, client: httpx.AsyncClient, token: str) -> httpx.Response:
        body = {"token": token, "password": PASSWORD, "full_name": "Ada"}
        return await client.post(self.ACCEPT, json=body)

    @pytest.mark.parametrize("loss", ["disabled", "demoted", "deleted"])
    async def test_it_gives_no_more_than_its_inviter_still_has(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails, loss: str
    ) -> None:
        admin, inviter, email = await accounts.admin(), await accounts.admin(), new_address()
        await self.invite(client, inviter, email, "admin")
        path = f"/api/admin/users/{inviter.id}"
        if loss == "disabled":
            lost = await client.post(f"{path}/disable", headers=admin.headers)
        elif loss == "demoted":
            lost = await client.put(f"{path}/roles", json={"roles": ["auditor"]}, headers=admin.headers)
        else:
            lost = await client.delete(path, headers=admin.headers)
        assert lost.status_code == 200, lost.text
        token = await mails.token(email, "/accept-invitation")
        assert code(await self.accept(client, token)) == "invalid_one_time_token"
        await self.invite(client, admin, email, "admin")
        token = await mails.token(email, "/accept-invitation", count=2)
        assert (await self.accept(client, token)).json()["data"]["role"] == "admin"

    async def test_a_later_one_replaces_it(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        admin, email, other = await accounts.admin(), new_address(), new_address()
        await self.invite(client, admin, email, "admin")
        await self.invite(client, admin, other, "user")
        first = await mails.token(email, "/accept-invitation")
        await self.invite(client, admin, email, "user")
        second = await mails.token(email, "/accept-invitation", count=2)
        assert code(await self.accept(client, first)) == "invalid_one_time_token"
        assert (await self.accept(client, second)).json()["data"]["role"] == "user"
        assert (await self.accept(client, await mails.token(other, "/accept-invitation"))).status_code == 201

    async def test_an_administrator_who_has_the_address_meanwhile_stays(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        admin, other, email = await accounts.admin(), await accounts.admin(), new_address()
        await self.invite(client, admin, email, "user")
        renamed = await client.patch(
            f"/api/admin/users/{other.id}", json={"email": email}, headers=admin.headers
        )
        assert renamed.status_code == 200
        response = await self.accept(client, await mails.token(email, "/accept-invitation"))
        assert code(response) == "email_taken"
        assert await log_in(client, email, PASSWORD) == 200

    async def test_who_registers_the_address_meanwhile_without_verifying_it_gives_way(
        self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        admin, email = await accounts.admin(), new_address()
        await self.invite(client, admin, email, "user")
        squatter = await accounts.register(email)
        token = await mails.token(email, "/accept-invitation", count=1)
        assert (await self.accept(client, token)).status_code == 201
        assert (await client.get(ME, headers=squatter.headers)).status_code == 401

    async def test_an_invited_person_gets_in_where_registration_is_closed(self, make_app: MakeApp) -> None:
        async with make_app(registration={"mode": "closed"}) as app:
            admin = await provisioned_admin(app)
            email = new_address()
            body = {"email": email, "roles": ["user", "auditor"], "locale": "de"}
            async with http_client(app) as closed:
                response = await closed.post("/api/admin/invitations", json=body, headers=admin.headers)
                assert response.status_code == 202, response.text
                token = await Mails(app).token(email, "/accept-invitation")
                weak = {"token": token, "password": "short", "full_name": "Ada"}
                path = "/api/auth/invitation/accept"
                assert code(await closed.post(path, json=weak)) == "weak_password"
                accepted = await closed.post(path, json=weak | {"password": PASSWORD})
                assert accepted.status_code == 201
                assert accepted.json()["data"]["role"] == "auditor"
                again = await closed.post(path, json=weak | {"password": PASSWORD})
                assert code(again) == "invalid_one_time_token"
                headers = {"Authorization": f"Bearer {accepted.json()['data']['access_token']}"}
                profile = (await closed.get("/api/profile", headers=headers)).json()["data"]
                assert profile["email_verified"] is True
                assert profile["locale"] == "de"

    async def test_nobody_invites_to_more_than_he_has(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        auditor = await accounts.with_roles("auditor")
        body = {"email": new_address(), "roles": ["admin"]}
        response = await client.post("/api/admin/invitations", json=body, headers=auditor.headers)
        assert code(response) == "permission_denied"


async def provisioned_admin(app: FastAPI) -> Account:
    """An administrator made as the command line makes him, since nobody can register."""
    runtime = app.state.runtime
    async with runtime.database.unit_of_work() as db:
        await user_provisioning.provision_user(
            db,
            runtime,
            email="admin@example.com",
            password=PASSWORD,
            full_name="The Admin",
            role_names=["admin"],
        )
    async with http_client(app) as client:
        body = {"email": "admin@example.com", "password": PASSWORD}
        data = (await client.post(LOGIN, json=body)).json()["data"]
    return Account(UUID(data["user_id"]), data["email"], PASSWORD, data["access_token"], data)


class TestLeaving:
    async def test_the_second_factor_is_asked_for(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        other = await accounts.log_in(account)
        await enroll(client, account)
        response = await client.request(
            "DELETE", "/api/profile", json={"password": PASSWORD}, headers=other.headers
        )
        assert code(response) == "second_factor_required"

    async def delete(self, client: httpx.AsyncClient, account: Account) -> None:
        response = await client.request(
            "DELETE", "/api/profile", json={"password": PASSWORD}, headers=account.headers
        )
        assert response.status_code == 200, response.text

    async def test_softly_first_then_for_good(
        self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account, admin = await accounts.register(new_address()), await accounts.admin()
        await self.delete(client, account)
        assert (await client.get(ME, headers=account.headers)).status_code == 401
        assert await log_in(client, account.email, PASSWORD) == 401
        path = f"/api/admin/users/{account.id}"
        assert (await client.get(path, headers=admin.headers)).json()["data"]["status"] == "deleted"
        with time_machine.travel(clock.utc_now().timestamp() + 31 * 86_400, tick=True):
            removed = await housekeeping.purge(app.state.runtime)
        assert removed["users"] == 1
        assert (await client.get(path, headers=admin.headers)).status_code == 404

    async def test_the_address_is_free_and_old_tokens_stay_dead(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register(new_address())
        await self.delete(client, account)
        again = await accounts.register(account.email)
        assert again.id != account.id
        assert (await client.get(ME, headers=account.headers)).status_code == 401

    async def test_an_administrator_brings_it_back(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account, admin = await accounts.register(new_address()), await accounts.admin()
        await self.delete(client, account)
        path = f"/api/admin/users/{account.id}/enable"
        assert (await client.post(path, headers=admin.headers)).status_code == 200
        assert await log_in(client, account.email, PASSWORD) == 200


class TestExport:
    async def test_everything_but_secrets(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        response = await client.get("/api/profile/export", headers=account.headers)
        data = response.json()["data"]
        assert data["users"][0]["email"] == account.email
        assert len(data["user_sessions"]) == 1
        assert data["audit_events"]
        assert data["known_devices"]
        for secret in ("bcrypt", "sealed", "_hash"):
            assert secret not in response.text


class TestInterventions:
    async def call(
        self, client: httpx.AsyncClient, admin: Account, user: Account, action: str
    ) -> httpx.Response:
        return await client.post(f"/api/admin/users/{user.id}/{action}", headers=admin.headers)

    async def test_logout(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        admin, user = await accounts.admin(), await accounts.register()
        response = await self.call(client, admin, user, "logout")
        assert response.json()["data"]["ended_sessions"] == 1
        assert (await client.get(ME, headers=user.headers)).status_code == 401

    async def test_unlock(self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts) -> None:
        admin, user = await accounts.admin(), await accounts.register()
        for number in range(ACCOUNT.free):
            async with http_client(app, address=f"198.51.100.{number}") as stranger:
                await log_in(stranger, user.email, "wrong")
        assert await log_in(client, user.email, PASSWORD) == 429
        assert (await self.call(client, admin, user, "unlock")).status_code == 200
        assert await log_in(client, user.email, PASSWORD) == 200

    async def test_unlock_after_failures_from_the_same_place(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        admin, user = await accounts.admin(), await accounts.register()
        for _ in range(PAIR.free):
            await log_in(client, user.email, "wrong")
        assert await log_in(client, user.email, PASSWORD) == 429
        assert (await self.call(client, admin, user, "unlock")).status_code == 200
        assert await log_in(client, user.email, PASSWORD) == 200

    @pytest.mark.parametrize("action", ["unlock", "mfa-reset"])
    async def test_wrong_codes_are_forgotten(
        self, client: httpx.AsyncClient, accounts: Accounts, action: str
    ) -> None:
        admin, user = await accounts.admin(), await accounts.register()
        phone = await enroll(client, user)
        body = {"email": user.email, "password": PASSWORD}
        for _ in range(CODE.free):
            token = (await client.post(LOGIN, json=body)).json()["data"]["mfa_token"]
            await client.post(f"{LOGIN}/mfa", json={"mfa_token": token, "code": "000000"})
        token = (await client.post(LOGIN, json=body)).json()["data"]["mfa_token"]
        second_step = {"mfa_token": token, "code": phone.recovery_codes[0]}
        assert code(await client.post(f"{LOGIN}/mfa", json=second_step)) == "too_many_attempts"
        assert (await self.call(client, admin, user, action)).status_code == 200
        if action == "unlock":
            assert (await client.post(f"{LOGIN}/mfa", json=second_step)).status_code == 200
        else:
            await enroll(client, await accounts.log_in(user))

    async def test_forced_reset(self, client: httpx.AsyncClient, accounts: Accounts, mails: Mails) -> None:
        admin, user = await accounts.admin(), await accounts.register(new_address())
        assert (await self.call(client, admin, user, "password-reset")).status_code == 202
        assert (await client.get(ME, headers=user.headers)).status_code == 401
        token = await mails.token(user.email, "/reset-password")
        body = {"token": token, "new_password": NEW_PASSWORD}
        assert (await client.post("/api/auth/password/reset", json=body)).status_code == 200
        assert await log_in(client, user.email, NEW_PASSWORD) == 200

    async def test_a_stranger_who_asked_for_many_links_cannot_spoil_a_forced_reset(
        self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts, mails: Mails
    ) -> None:
        admin, user = await accounts.admin(), await accounts.register(new_address())
        most = app.state.runtime.settings.mail.max_per_hour
        for _ in range(most):
            await client.post("/api/auth/password/forgot", json={"email": user.email})
        token = await mails.token(user.email, "/reset-password", count=most)
        assert (await self.call(client, admin, user, "password-reset")).status_code == 202
        # No more mails for an hour: the link in the last one is the owner's way back.
        body = {"token": token, "new_password": NEW_PASSWORD}
        assert (await client.post("/api/auth/password/reset", json=body)).status_code == 200

    async def test_verify_email(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        admin, user = await accounts.admin(), await accounts.register()
        response = await self.call(client, admin, user, "verify-email")
        assert response.json()["data"]["email_verified"] is True

    async def test_mfa_reset_needs_a_factor_and_another_user(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        admin, user = await accounts.admin(), await accounts.register()
        assert code(await self.call(client, admin, user, "mfa-reset")) == "factor_not_found"
        assert code(await self.call(client, admin, admin, "mfa-reset")) == "cannot_manage_user"

    async def test_an_old_login_is_not_enough(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        admin, user = await accounts.admin(), await accounts.register()
        with time_machine.travel(clock.utc_now().timestamp() + 16 * 60, tick=True):
            assert code(await self.call(client, admin, user, "logout")) == "reauthentication_required"


class TestErasure:
    async def test_who_is_brought_back_at_that_moment_stays(
        self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        """Nothing that was answered is undone by an erasure that had chosen the account before."""
        account, admin = await accounts.register(new_address()), await accounts.admin()
        body = {"password": PASSWORD}
        gone = await client.request("DELETE", "/api/profile", json=body, headers=account.headers)
        assert gone.status_code == 200
        runtime = app.state.runtime
        later = clock.utc_now() + runtime.settings.account.deletion_grace + timedelta(days=1)
        async with runtime.database.unit_of_work() as db:
            if runtime.database.is_sqlite:
                # One writer at a time: whoever comes second finds what the first has left.
                assert await users.hold_deleted(db, before=later, limit=10) == [account.id]
                return
            await users.find_for_update(db, account.id)
            async with runtime.database.unit_of_work() as erasing:
                assert await users.hold_deleted(erasing, before=later, limit=10) == []
        path = f"/api/admin/users/{account.id}/enable"
        assert (await client.post(path, headers=admin.headers)).status_code == 200
        async with runtime.database.unit_of_work() as db:
            assert await users.hold_deleted(db, before=later, limit=10) == []
        assert await log_in(client, account.email, PASSWORD) == 200


class TestHousekeeping:
    async def test_what_has_expired_goes_and_the_rest_stays(
        self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        assert not any((await housekeeping.purge(app.state.runtime)).values())
        with time_machine.travel(clock.utc_now().timestamp() + 500 * 86_400, tick=True):
            removed = await housekeeping.purge(app.state.runtime)
        for table in ("user_sessions", "known_devices", "one_time_tokens"):
            assert removed[table] == 1
        assert removed["users"] == 0
        assert (await client.get(ME, headers=account.headers)).status_code == 200
