"""Re-authentication while the session or the account comes to an end."""

import pytest
from sqlalchemy import select

from authapi import clock, errors
from authapi.enums import AuditAction
from authapi.models import AuditEvent
from authapi.principal import Principal
from authapi.runtime import Runtime
from authapi.services import logout, reauthentication
from authapi.services.user_sessions import SessionTokens
from tests.services.test_login import change_user, while_hashing
from tests.support.accounts import PASSWORD, Account, Accounts


def principal_of(runtime: Runtime, account: Account) -> Principal:
    principal = runtime.tokens.verify(account.access_token).principal
    assert principal is not None
    return principal


async def reauthenticate(runtime: Runtime, principal: Principal, password: str = PASSWORD) -> SessionTokens:
    async with runtime.database.unit_of_work() as db:
        return await reauthentication.reauthenticate(db, runtime, principal=principal, password=password)


class TestReauthenticate:
    async def test_the_session_is_the_same_with_a_fresh_instant(
        self, runtime: Runtime, accounts: Accounts
    ) -> None:
        principal = principal_of(runtime, await accounts.register())
        tokens = await reauthenticate(runtime, principal)
        claims = runtime.tokens.verify(tokens.access_token).claims
        assert claims.sid == str(principal.user_session_id)
        assert tokens.user_session.auth_time > principal.auth_time
        assert tokens.user_session.generation == 0

    async def test_logged_out_while_hashing(
        self, runtime: Runtime, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        principal = principal_of(runtime, await accounts.register())

        async def end() -> None:
            async with runtime.database.unit_of_work() as db:
                await logout.log_out(db, runtime, principal=principal, refresh_token=None)

        while_hashing(monkeypatch, runtime, end)
        with pytest.raises(errors.InvalidAccessToken, match="session_ended"):
            await reauthenticate(runtime, principal)

    async def test_disabled_while_hashing(
        self, runtime: Runtime, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = await accounts.register()
        while_hashing(
            monkeypatch, runtime, lambda: change_user(runtime, account, disabled_at=clock.utc_now())
        )
        with pytest.raises(errors.InvalidAccessToken):
            await reauthenticate(runtime, principal_of(runtime, account))

    async def test_a_wrong_password_is_on_record(self, runtime: Runtime, accounts: Accounts) -> None:
        principal = principal_of(runtime, await accounts.register())
        with pytest.raises(errors.InvalidCredentials):
            await reauthenticate(runtime, principal, "wrong")
        async with runtime.database.reading() as db:
            statement = select(AuditEvent.user_session_id)
            statement = statement.where(AuditEvent.action == AuditAction.USER_REAUTHENTICATION_FAILED)
            assert await db.scalar(statement) == principal.user_session_id
