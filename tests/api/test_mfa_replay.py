"""A code of a second factor counts once: later, earlier, and fifty times at the same moment."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import time_machine

from authapi import clock
from authapi.repositories import second_factors
from authapi.runtime import Runtime
from authapi.security import totp
from tests.api.test_mfa import code_of, first_step, second_step
from tests.support.accounts import Account, Accounts
from tests.support.authenticators import Authenticator, enroll

STEP = timedelta(seconds=30)


@pytest.fixture
def at_step() -> Iterator[time_machine.Traveller]:
    """A clock that stands still at the beginning of the next step."""
    now = clock.utc_now()
    beginning = datetime.fromtimestamp(int(now.timestamp()) // 30 * 30, UTC) + STEP
    with time_machine.travel(beginning, tick=False) as traveller:
        yield traveller


async def log_in(client: httpx.AsyncClient, account: Account, code: str) -> httpx.Response:
    return await second_step(client, await first_step(client, account), code)


class TestSteps:
    @pytest.mark.parametrize(
        ("drift", "status"),
        [(-2, 401), (-1, 200), (0, 200), (1, 200), (2, 401)],
        ids=str,
    )
    async def test_one_of_drift(
        self,
        client: httpx.AsyncClient,
        accounts: Accounts,
        at_step: time_machine.Traveller,
        drift: int,
        status: int,
    ) -> None:
        phone = await enroll(client, await accounts.register())
        at_step.shift(5 * STEP)
        code = phone.code(clock.utc_now() + drift * STEP)
        assert (await log_in(client, phone.account, code)).status_code == status

    async def test_a_code_of_an_older_step_than_the_last_one(
        self, client: httpx.AsyncClient, accounts: Accounts, at_step: time_machine.Traveller
    ) -> None:
        """Whoever looked over the shoulder a moment ago has a code that was never used, and is too late."""
        phone = await enroll(client, await accounts.register())
        at_step.shift(5 * STEP)
        older, present, later = (phone.code(clock.utc_now() + drift * STEP) for drift in (-1, 0, 1))
        assert (await log_in(client, phone.account, present)).status_code == 200
        for used_up in (older, present):
            assert code_of(await log_in(client, phone.account, used_up)) == "invalid_code"
        assert (await log_in(client, phone.account, later)).status_code == 200
        assert code_of(await log_in(client, phone.account, present)) == "invalid_code"

    async def test_the_code_that_enrolled_is_used_up(
        self, client: httpx.AsyncClient, accounts: Accounts, at_step: time_machine.Traveller
    ) -> None:
        phone = await enroll(client, await accounts.register())
        assert code_of(await log_in(client, phone.account, phone.code())) == "invalid_code"

    async def test_the_clock_across_a_step(
        self, client: httpx.AsyncClient, accounts: Accounts, at_step: time_machine.Traveller
    ) -> None:
        """Used in a step's last second, a code is no new one in the first second of the next."""
        phone = await enroll(client, await accounts.register())
        at_step.shift(5 * STEP - timedelta(milliseconds=1))
        code = phone.code()
        assert (await log_in(client, phone.account, code)).status_code == 200
        at_step.shift(timedelta(milliseconds=1))
        assert phone.code() != code
        assert code_of(await log_in(client, phone.account, code)) == "invalid_code"
        assert (await log_in(client, phone.account, phone.code())).status_code == 200


class TestFiftyAtOnce:
    @pytest.mark.parametrize("kind", ["totp", "recovery_code"])
    async def test_over_http_one_gets_in(
        self, client: httpx.AsyncClient, accounts: Accounts, at_step: time_machine.Traveller, kind: str
    ) -> None:
        """Ten tries in each of five logins that stand before the second step."""
        phone = await enroll(client, await accounts.register())
        at_step.shift(5 * STEP)
        code = phone.code() if kind == "totp" else phone.recovery_codes[0]
        tokens = [await first_step(client, phone.account) for _ in range(5)]
        responses = await asyncio.gather(
            *(second_step(client, mfa_token, code) for mfa_token in tokens for _ in range(10))
        )
        statuses = [response.status_code for response in responses]
        assert statuses.count(200) == 1
        assert set(statuses) <= {200, 401, 429, 503}

    async def test_in_the_database_one_wins(self, runtime: Runtime, phone: Authenticator) -> None:
        """Without the throttle before it, which refuses most of fifty tries by itself."""
        user_id, now = phone.account.id, clock.utc_now()
        async with runtime.database.reading() as db:
            used = await second_factors.count_recovery_codes(db, user_id=user_id)
        code = phone.recovery_codes[0]
        digest = totp.recovery_code_digest(code, user_id=user_id, secret=phone.secret)

        async def use_step() -> bool:
            async with runtime.database.unit_of_work() as db:
                return await second_factors.accept_step(db, user_id=user_id, step=2**31, now=now)

        async def use_recovery_code() -> bool:
            async with runtime.database.unit_of_work() as db:
                return await second_factors.use_recovery_code(db, user_id=user_id, code_hash=digest, now=now)

        for use in (use_step, use_recovery_code):
            assert sum(await asyncio.gather(*(use() for _ in range(50)))) == 1
        async with runtime.database.reading() as db:
            assert await second_factors.count_recovery_codes(db, user_id=user_id) == used - 1

    @pytest.fixture
    async def phone(self, client: httpx.AsyncClient, accounts: Accounts) -> Authenticator:
        return await enroll(client, await accounts.register())
