"""Logging out, by either token, once or again."""

import pytest

from authapi import errors
from authapi.principal import Principal
from authapi.runtime import Runtime
from authapi.services import logout
from tests.support.accounts import Account, Accounts


async def log_out(
    runtime: Runtime, *, principal: Principal | None = None, refresh_token: str | None = None
) -> None:
    async with runtime.database.unit_of_work() as db:
        await logout.log_out(db, runtime, principal=principal, refresh_token=refresh_token)


def principal_of(runtime: Runtime, account: Account) -> Principal | None:
    return runtime.tokens.verify(account.access_token).principal


class TestLogOut:
    async def test_either_token_ends_the_session(self, runtime: Runtime, accounts: Accounts) -> None:
        first, second = await accounts.register(), await accounts.register()
        await log_out(runtime, principal=principal_of(runtime, first))
        await log_out(runtime, refresh_token=second.data["refresh_token"])
        for account in (first, second):
            with pytest.raises(errors.InvalidAccessToken, match="session_revoked"):
                runtime.tokens.verify(account.access_token)

    async def test_again_is_fine(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.register()
        principal = principal_of(runtime, account)
        for _ in range(2):
            await log_out(runtime, principal=principal)
            await log_out(runtime, refresh_token=account.data["refresh_token"])

    async def test_without_proof(self, runtime: Runtime) -> None:
        with pytest.raises(errors.NotAuthenticated):
            await log_out(runtime)
        with pytest.raises(errors.InvalidRefreshToken, match="malformed"):
            await log_out(runtime, refresh_token="authapi_rt_made_up")

    async def test_everywhere_counts(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.register()
        await accounts.log_in(account)
        async with runtime.database.unit_of_work() as db:
            assert await logout.log_out_everywhere(db, runtime, user_id=account.id) == 2
            assert await logout.log_out_everywhere(db, runtime, user_id=account.id) == 0
