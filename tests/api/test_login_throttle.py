"""Guessing passwords over HTTP: it stops, costs no hashes, and does not keep the owner out."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
import time_machine
from fastapi import FastAPI

from authapi import clock
from authapi.errors import HashingBusy
from authapi.services import known_devices, login_throttle
from tests.conftest import http_client
from tests.support.accounts import PASSWORD, Account, Accounts

LOGIN = "/api/auth/login"


async def guess(
    client: httpx.AsyncClient, email: str, password: str = "wrong", **extra: object
) -> httpx.Response:
    return await client.post(LOGIN, json={"email": email, "password": password, **extra})


def hashes(app: FastAPI) -> int:
    total: int = app.state.runtime.hasher.pool.hashes_total
    return total


@pytest.fixture
async def victim(accounts: Accounts) -> Account:
    return await accounts.register("victim@example.com")


class TestOneSource:
    async def test_after_some_failures_each_costs_a_longer_wait(
        self, client: httpx.AsyncClient, victim: Account
    ) -> None:
        statuses = [(await guess(client, victim.email)).status_code for _ in range(10)]
        assert statuses == [401] * 8 + [429] * 2
        refused = await guess(client, victim.email)
        assert refused.json()["error"]["code"] == "too_many_attempts"
        assert refused.headers["Retry-After"] == "1"
        start = clock.utc_now().timestamp()
        with time_machine.travel(start + 2, tick=True):
            assert (await guess(client, victim.email)).status_code == 401
            assert (await guess(client, victim.email)).headers["Retry-After"] == "2"

    async def test_a_refused_try_is_not_hashed_even_with_the_right_password(
        self, app: FastAPI, client: httpx.AsyncClient, victim: Account
    ) -> None:
        for _ in range(8):
            await guess(client, victim.email)
        before = hashes(app)
        assert (await guess(client, victim.email, PASSWORD)).status_code == 429
        assert hashes(app) == before

    async def test_a_success_forgets_the_failures_of_its_own_pair(
        self, client: httpx.AsyncClient, victim: Account
    ) -> None:
        for _ in range(2):
            for _ in range(7):
                assert (await guess(client, victim.email)).status_code == 401
            assert (await guess(client, victim.email, PASSWORD)).status_code == 200

    async def test_logging_in_to_an_account_of_ones_own_forgets_nothing_else(
        self, client: httpx.AsyncClient, accounts: Accounts, victim: Account
    ) -> None:
        own = await accounts.register()
        for _ in range(8):
            await guess(client, victim.email)
        assert (await guess(client, own.email, PASSWORD)).status_code == 200
        assert (await guess(client, victim.email)).status_code == 429


class TestManySources:
    async def test_parallel_guesses_are_counted_exactly(self, app: FastAPI, victim: Account) -> None:
        before = hashes(app)
        clients = [http_client(app, address=f"198.51.100.{number}") for number in range(200)]
        # The clock stands still: on a slow machine the first wait would be over before the last guess.
        with time_machine.travel(clock.utc_now(), tick=False):
            responses = await asyncio.gather(*(guess(client, victim.email) for client in clients))
        statuses = {response.status_code for response in responses}
        # 503: on a slow machine so many at once do not all get a database connection in time, or not twice.
        assert statuses <= {401, 429, 503}
        hashed = hashes(app) - before
        assert hashed <= login_throttle.ACCOUNT.free
        assert hashed == login_throttle.ACCOUNT.free or 503 in statuses

    async def test_at_most_a_hundred_a_day_however_patient(
        self, app: FastAPI, client: httpx.AsyncClient, victim: Account
    ) -> None:
        start = clock.utc_now().timestamp()
        tried = 0
        for minute in range(0, 23 * 60, 10):
            with time_machine.travel(start + minute * 60, tick=True):
                async with http_client(app, address=f"2001:db8:{minute}::1") as stranger:
                    for _ in range(2):
                        tried += (await guess(stranger, victim.email)).status_code == 401
        assert login_throttle.ACCOUNT.free < tried <= login_throttle.ACCOUNT.limit
        with time_machine.travel(start + 25 * 3600, tick=True):
            assert (await guess(client, victim.email, PASSWORD)).status_code == 200

    @pytest.mark.parametrize(
        "spelling",
        [str.upper, lambda email: f" {email} ", lambda email: email.replace("victim", "ｖictim")],
    )
    async def test_spellings_share_one_counter(
        self, app: FastAPI, victim: Account, spelling: Callable[[str], str]
    ) -> None:
        async def tries(email: str) -> list[int]:
            statuses = []
            for number in range(10):
                async with http_client(app, address=f"192.0.2.{len(email)}{number}") as client:
                    statuses.append((await guess(client, email)).status_code)
            return statuses

        assert await tries(victim.email) == [401] * 10
        assert await tries(spelling(victim.email)) == [401] * 10
        async with http_client(app, address="192.0.2.250") as client:
            assert (await guess(client, victim.email)).status_code == 429


class TestOwner:
    async def hammer(self, app: FastAPI, email: str) -> None:
        for number in range(login_throttle.ACCOUNT.free):
            async with http_client(app, address=f"198.51.100.{number}") as stranger:
                await guess(stranger, email)

    async def test_gets_in_from_a_known_device(
        self, app: FastAPI, client: httpx.AsyncClient, victim: Account
    ) -> None:
        await self.hammer(app, victim.email)
        assert (await guess(client, victim.email, PASSWORD)).status_code == 429
        device_token = victim.data["device_token"]
        for _ in range(5):
            response = await guess(client, victim.email, PASSWORD, device_token=device_token)
            assert response.status_code == 200
            device_token = response.json()["data"]["device_token"]

    async def test_a_right_password_leaves_no_wait_behind(
        self, app: FastAPI, client: httpx.AsyncClient, victim: Account
    ) -> None:
        await self.hammer(app, victim.email)
        with time_machine.travel(clock.utc_now().timestamp() + 2, tick=False):
            # Its own try set a wait of the account, twice as long as the last.
            assert (await guess(client, victim.email, PASSWORD)).status_code == 200
            async with http_client(app, address="198.51.100.250") as phone:
                assert (await guess(phone, victim.email, PASSWORD)).status_code == 200

    async def test_a_stolen_device_token_has_a_small_budget(
        self, app: FastAPI, client: httpx.AsyncClient, victim: Account
    ) -> None:
        statuses = [
            (await guess(client, victim.email, device_token=victim.data["device_token"])).status_code
            for _ in range(12)
        ]
        assert statuses == [401] * 10 + [429] * 2

    async def test_tokens_of_other_users_and_forged_ones_are_strangers(
        self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts, victim: Account
    ) -> None:
        other = await accounts.register()
        await self.hammer(app, victim.email)
        for device_token in (
            other.data["device_token"],
            victim.data["device_token"][:-1] + "A",
            victim.data["refresh_token"],
            "x",
        ):
            response = await guess(client, victim.email, PASSWORD, device_token=device_token)
            assert response.status_code == 429

    async def test_an_old_device_token_grows_stale(
        self, app: FastAPI, client: httpx.AsyncClient, victim: Account
    ) -> None:
        first = victim.data["device_token"]
        token = first
        for _ in range(2):
            response = await guess(client, victim.email, PASSWORD, device_token=token)
            token = response.json()["data"]["device_token"]
        await self.hammer(app, victim.email)
        assert (await guess(client, victim.email, PASSWORD, device_token=first)).status_code == 429
        assert (await guess(client, victim.email, PASSWORD, device_token=token)).status_code == 200

    async def test_beyond_the_cap_the_device_used_longest_ago_is_forgotten(
        self, app: FastAPI, client: httpx.AsyncClient, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known_devices, "MAX_PER_USER", 2)
        account = await accounts.register()
        logins = [await guess(client, account.email, PASSWORD) for _ in range(2)]
        tokens = [login.json()["data"]["device_token"] for login in logins]
        await self.hammer(app, account.email)
        statuses = [
            (await guess(client, account.email, PASSWORD, device_token=token)).status_code
            for token in (account.data["device_token"], *tokens)
        ]
        # The one of the registration is a stranger's now.
        assert statuses == [429, 200, 200]

    async def test_a_live_session_can_reauthenticate(self, app: FastAPI, victim: Account) -> None:
        await self.hammer(app, victim.email)
        async with http_client(app) as client:
            response = await client.post(
                "/api/auth/reauthenticate", json={"password": PASSWORD}, headers=victim.headers
            )
        assert response.status_code == 200


class TestUnknownAccounts:
    async def test_are_throttled_alike(self, client: httpx.AsyncClient, victim: Account) -> None:
        outcomes = []
        for email in (victim.email, "nobody@example.com"):
            responses = [await guess(client, email) for _ in range(10)]
            for response in responses:
                body = response.json()
                body["error"].pop("request_id")
                outcomes.append((response.status_code, response.headers.get("Retry-After"), str(body)))
        assert outcomes[:10] == outcomes[10:]


class TestBusy:
    async def test_a_try_that_was_not_hashed_does_not_count(
        self, client: httpx.AsyncClient, app: FastAPI, victim: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_arguments: object) -> None:
            raise HashingBusy

        with monkeypatch.context() as patched:
            patched.setattr(type(app.state.runtime.hasher), "verify", refuse)
            for _ in range(12):
                assert (await guess(client, victim.email)).status_code == 503
        assert (await guess(client, victim.email, PASSWORD)).status_code == 200
