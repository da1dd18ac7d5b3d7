"""Second factors over HTTP: enrollment, login, step-up and removal, on both databases."""

from collections.abc import Iterator

import httpx
import pytest
import time_machine
from fastapi import FastAPI

from authapi import clock
from tests.conftest import http_client
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.authenticators import TOTP, enroll

ME = "/api/auth/me"
LOGIN = "/api/auth/login"
LOGIN_MFA = "/api/auth/login/mfa"


def code_of(response: httpx.Response) -> str:
    error_code: str = response.json()["error"]["code"]
    return error_code


@pytest.fixture
def later() -> Iterator[time_machine.Traveller]:
    """A clock that stands a minute ahead and can be moved."""
    with time_machine.travel(clock.utc_now(), tick=True) as traveller:
        yield traveller


async def first_step(client: httpx.AsyncClient, account: Account) -> str:
    response = await client.post(LOGIN, json={"email": account.email, "password": PASSWORD})
    data = response.json()["data"]
    assert data["mfa_required"] is True
    assert "access_token" not in data
    token: str = data["mfa_token"]
    return token


async def second_step(client: httpx.AsyncClient, mfa_token: str, code: str) -> httpx.Response:
    return await client.post(LOGIN_MFA, json={"mfa_token": mfa_token, "code": code})


class TestLogin:
    async def test_password_and_code(
        self, client: httpx.AsyncClient, accounts: Accounts, later: time_machine.Traveller
    ) -> None:
        phone = await enroll(client, await accounts.register())
        later.shift(60)
        response = await second_step(client, await first_step(client, phone.account), phone.code())
        assert response.status_code == 200
        token = response.json()["data"]["access_token"]
        me = await client.get(ME, headers={"Authorization": f"Bearer {token}"})
        assert me.json()["data"]["amr"] == ["pwd", "otp", "mfa"]

    async def test_the_device_is_known_by_either_step(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        phone = await enroll(client, account)
        body = {
            "mfa_token": await first_step(client, account),
            "code": phone.recovery_codes[0],
            "device_token": account.data["device_token"],
        }
        assert (await client.post(LOGIN_MFA, json=body)).status_code == 200
        export = await client.get("/api/profile/export", headers=account.headers)
        assert len(export.json()["data"]["known_devices"]) == 1

    async def test_a_recovery_code_works_once(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        phone = await enroll(client, await accounts.register())
        code = phone.recovery_codes[0].lower().replace("-", " ")
        first = await second_step(client, await first_step(client, phone.account), code)
        assert first.status_code == 200
        second = await second_step(client, await first_step(client, phone.account), code)
        assert code_of(second) == "invalid_code"

    async def test_five_wrong_codes_end_the_login(
        self, client: httpx.AsyncClient, accounts: Accounts, later: time_machine.Traveller
    ) -> None:
        phone = await enroll(client, await accounts.register())
        mfa_token = await first_step(client, phone.account)
        for _ in range(5):
            assert code_of(await second_step(client, mfa_token, "000000")) == "invalid_code"
            later.shift(40)
        assert code_of(await second_step(client, mfa_token, phone.code())) == "invalid_mfa_token"

    async def test_codes_are_throttled_over_logins(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        phone = await enroll(client, await accounts.register())
        codes = []
        for _ in range(2):
            mfa_token = await first_step(client, phone.account)
            codes += [code_of(await second_step(client, mfa_token, "000000")) for _ in range(4)]
        assert codes == ["invalid_code"] * 5 + ["too_many_attempts"] * 3

    async def test_the_token_expires_and_belongs_to_its_user(
        self, client: httpx.AsyncClient, accounts: Accounts, later: time_machine.Traveller
    ) -> None:
        phone = await enroll(client, await accounts.register())
        other = await enroll(client, await accounts.register())
        later.shift(60)
        mfa_token = await first_step(client, phone.account)
        assert code_of(await second_step(client, mfa_token, other.code())) == "invalid_code"
        later.shift(301)
        assert code_of(await second_step(client, mfa_token, phone.code())) == "invalid_mfa_token"

    async def test_every_other_path_refuses_a_password_alone(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = (await enroll(client, await accounts.register())).account
        form = {"grant_type": "password", "username": account.email, "password": PASSWORD}
        response = await client.post("/api/auth/token", data=form)
        assert (response.status_code, response.json()["error"]) == (400, "mfa_required")
        assert response.json()["factors"] == ["totp", "recovery_code"]
        assert "access_token" not in response.text
        basic = await client.post("/login", auth=(account.email, PASSWORD))
        assert basic.status_code == 401


class TestStepUp:
    async def test_an_old_login_is_challenged(
        self, client: httpx.AsyncClient, accounts: Accounts, later: time_machine.Traveller
    ) -> None:
        account = await accounts.register()
        later.shift(16 * 60)
        response = await client.post(TOTP, json={"password": PASSWORD}, headers=account.headers)
        assert code_of(response) == "reauthentication_required"
        assert "insufficient_user_authentication" in response.headers["WWW-Authenticate"]
        again = await client.post(
            "/api/auth/reauthenticate", json={"password": PASSWORD}, headers=account.headers
        )
        headers = {"Authorization": f"Bearer {again.json()['data']['access_token']}"}
        assert (await client.post(TOTP, json={"password": PASSWORD}, headers=headers)).status_code == 200

    async def test_a_login_from_before_the_enrollment_needs_the_factor(
        self, client: httpx.AsyncClient, accounts: Accounts, later: time_machine.Traveller
    ) -> None:
        phone = await enroll(client, await accounts.register())
        headers = phone.account.headers
        path = "/api/auth/mfa/recovery-codes"
        response = await client.post(path, json={"password": PASSWORD}, headers=headers)
        assert code_of(response) == "second_factor_required"
        reauthenticate = "/api/auth/reauthenticate"
        bare = await client.post(reauthenticate, json={"password": PASSWORD}, headers=headers)
        assert code_of(bare) == "second_factor_required"
        later.shift(60)
        full = await client.post(
            reauthenticate, json={"password": PASSWORD, "code": phone.code()}, headers=headers
        )
        headers = {"Authorization": f"Bearer {full.json()['data']['access_token']}"}
        renewed = await client.post(path, json={"password": PASSWORD}, headers=headers)
        assert renewed.status_code == 200
        old = await second_step(client, await first_step(client, phone.account), phone.recovery_codes[0])
        assert code_of(old) == "invalid_code"


class TestRemoval:
    async def test_needs_password_and_code(
        self, client: httpx.AsyncClient, accounts: Accounts, later: time_machine.Traveller
    ) -> None:
        phone = await enroll(client, await accounts.register())
        later.shift(60)
        login = await second_step(client, await first_step(client, phone.account), phone.code())
        headers = {"Authorization": f"Bearer {login.json()['data']['access_token']}"}
        wrong = await client.request(
            "DELETE", TOTP, json={"password": PASSWORD, "code": "000000"}, headers=headers
        )
        assert code_of(wrong) == "invalid_code"
        later.shift(60)
        right = await client.request(
            "DELETE", TOTP, json={"password": PASSWORD, "code": phone.code()}, headers=headers
        )
        assert right.status_code == 200
        plain = await client.post(LOGIN, json={"email": phone.account.email, "password": PASSWORD})
        assert "access_token" in plain.json()["data"]

    async def test_without_a_factor(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        body = {"password": PASSWORD, "code": "000000"}
        response = await client.request("DELETE", TOTP, json=body, headers=account.headers)
        assert (response.status_code, code_of(response)) == (404, "factor_not_found")

    async def test_a_second_enrollment_is_refused(
        self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts, later: time_machine.Traveller
    ) -> None:
        phone = await enroll(client, await accounts.register())
        later.shift(60)
        async with http_client(app) as other:
            login = await second_step(other, await first_step(other, phone.account), phone.code())
            headers = {"Authorization": f"Bearer {login.json()['data']['access_token']}"}
            response = await other.post(TOTP, json={"password": PASSWORD}, headers=headers)
        assert code_of(response) == "factor_exists"


class TestRequiredByRole:
    async def test_a_role_is_in_force_only_with_the_factor(
        self, client: httpx.AsyncClient, accounts: Accounts, later: time_machine.Traveller
    ) -> None:
        admin = await accounts.admin()
        roles = (await client.get("/api/admin/roles", headers=admin.headers)).json()["data"]
        path = f"/api/admin/roles/{next(role['id'] for role in roles if role['name'] == 'admin')}"
        changed = await client.patch(path, json={"requires_second_factor": True}, headers=admin.headers)
        assert changed.status_code == 200, changed.text
        # At once for the very caller, whose token says more than he may do now.
        assert (await client.get("/api/admin/users", headers=admin.headers)).status_code == 401
        again = await accounts.log_in(admin)
        assert again.data["role"] is None
        phone = await enroll(client, again)
        later.shift(60)
        login = await second_step(client, await first_step(client, admin), phone.code())
        assert login.json()["data"]["role"] == "admin"
        headers = {"Authorization": f"Bearer {login.json()['data']['access_token']}"}
        assert (await client.get("/api/admin/users", headers=headers)).status_code == 200
        # Without the factor the role goes out of force, in the session that was opened with it too.
        removal = {"password": PASSWORD, "code": phone.recovery_codes[0]}
        assert (await client.request("DELETE", TOTP, json=removal, headers=headers)).status_code == 200
        assert (await client.get("/api/admin/users", headers=headers)).status_code == 401
        refreshed = await client.post(
            "/api/auth/refresh", json={"refresh_token": login.json()["data"]["refresh_token"]}
        )
        headers = {"Authorization": f"Bearer {refreshed.json()['data']['access_token']}"}
        me = (await client.get(ME, headers=headers)).json()["data"]
        assert (me["role"], me["amr"]) == (None, ["pwd"])
        assert (await client.get("/api/admin/users", headers=headers)).status_code == 403

    async def test_nothing_else_of_a_built_in_role_can_be_changed(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        admin = await accounts.admin()
        roles = (await client.get("/api/admin/roles", headers=admin.headers)).json()["data"]
        path = f"/api/admin/roles/{roles[0]['id']}"
        bodies: list[dict[str, object]] = [{"permissions": []}, {"requires_second_factor": True, "rank": 5}]
        for body in bodies:
            response = await client.patch(path, json=body, headers=admin.headers)
            assert code_of(response) == "role_is_built_in"
