"""Ending sessions and voiding tokens: clocks of hosts that differ, and seconds that are shared."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from sqlalchemy import event, select

from authapi import clock, errors
from authapi.database import after_commit
from authapi.enums import AuditAction, RevocationReason
from authapi.models import AuditEvent, Revocation, UserSession
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import revocation, token_refresh
from authapi.services.user_sessions import SessionTokens
from tests.support.accounts import Account, Accounts


@pytest.fixture
def noon() -> datetime:
    """A whole second shortly ahead of the present, for clocks that stand still."""
    return clock.utc_now().replace(microsecond=0) + timedelta(minutes=1)


async def refresh(runtime: Runtime, refresh_token: str) -> SessionTokens:
    return await token_refresh.refresh(runtime, refresh_token=refresh_token)


async def void(runtime: Runtime, account: Account) -> None:
    async with runtime.database.unit_of_work() as db:
        user = await users.find_for_update(db, account.id)
        assert user is not None
        await revocation.void_access_tokens(db, runtime, user=user)


async def revoke(runtime: Runtime, account: Account, **options: Any) -> list[UUID]:
    async with runtime.database.unit_of_work() as db:
        ended = await revocation.revoke_user_sessions(
            db, runtime, user_id=account.id, reason=RevocationReason.LOGOUT_ALL, **options
        )
        return list(ended)


def is_refused(runtime: Runtime, access_token: str) -> bool:
    try:
        runtime.tokens.verify(access_token)
    except errors.InvalidAccessToken:
        return True
    return False


class TestVoidAccessTokens:
    async def test_old_tokens_are_void_and_the_session_gets_new_ones(
        self, runtime: Runtime, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        await void(runtime, account)
        assert is_refused(runtime, account.access_token)
        fresh = await refresh(runtime, account.data["refresh_token"])
        assert not is_refused(runtime, fresh.access_token)

    async def test_a_refresh_that_crossed_a_second_before_the_void(
        self, runtime: Runtime, accounts: Accounts, noon: datetime
    ) -> None:
        """The refresh reads the old rights at .95 and signs in the next second; the void began at .96."""
        account = await accounts.register()
        with time_machine.travel(noon + timedelta(milliseconds=950), tick=False) as traveller:

            def delay(*arguments: Any) -> None:
                if arguments[2].startswith("UPDATE user_sessions"):
                    traveller.shift(timedelta(milliseconds=100))

            engine = runtime.database.engine.sync_engine
            event.listen(engine, "after_cursor_execute", delay)
            try:
                tokens = await refresh(runtime, account.data["refresh_token"])
            finally:
                event.remove(engine, "after_cursor_execute", delay)
            traveller.move_to(noon + timedelta(milliseconds=960))
            await void(runtime, account)
            assert is_refused(runtime, tokens.access_token)

    async def test_a_lost_reply_that_crossed_a_second_before_the_void(
        self, runtime: Runtime, accounts: Accounts, noon: datetime
    ) -> None:
        account = await accounts.register()
        with time_machine.travel(noon, tick=False) as traveller:
            await refresh(runtime, account.data["refresh_token"])
            # The host that answers again is ahead of the one that voids.
            traveller.shift(timedelta(seconds=20))
            again = await refresh(runtime, account.data["refresh_token"])
            traveller.move_to(noon + timedelta(seconds=1))
            await void(runtime, account)
            assert is_refused(runtime, again.access_token)

    async def test_twice_in_a_second_with_a_refresh_in_between(
        self, runtime: Runtime, accounts: Accounts, noon: datetime
    ) -> None:
        """The token of the refresh says the next second, which the second void has to cover too."""
        account = await accounts.register()
        with time_machine.travel(noon, tick=False):
            await void(runtime, account)
            between = await refresh(runtime, account.data["refresh_token"])
            assert not is_refused(runtime, between.access_token)
            await void(runtime, account)
            assert is_refused(runtime, between.access_token)
            after = await refresh(runtime, between.refresh_token)
            assert not is_refused(runtime, after.access_token)

    async def test_hosts_with_different_clocks(
        self, runtime: Runtime, accounts: Accounts, noon: datetime
    ) -> None:
        """A host that is ahead issues, one that is behind issues, one that is behind voids."""
        account = await accounts.register()
        with time_machine.travel(noon + timedelta(seconds=20), tick=False) as traveller:
            ahead = await refresh(runtime, account.data["refresh_token"])
            traveller.move_to(noon)
            behind = await refresh(runtime, ahead.refresh_token)
            traveller.shift(timedelta(seconds=1))
            await void(runtime, account)
            assert is_refused(runtime, ahead.access_token)
            assert is_refused(runtime, behind.access_token)
            again = await refresh(runtime, behind.refresh_token)
            assert not is_refused(runtime, again.access_token)


class TestRevokeUserSessions:
    async def test_only_and_sparing(self, runtime: Runtime, accounts: Accounts) -> None:
        first = await accounts.register()
        second, third = await accounts.log_in(first), await accounts.log_in(first)
        ids = [session_id(runtime, account) for account in (first, second, third)]
        assert await revoke(runtime, first, only=ids[0]) == [ids[0]]
        assert await revoke(runtime, first, only=ids[0]) == []
        assert await revoke(runtime, first, sparing=ids[2]) == [ids[1]]
        refused = [is_refused(runtime, account.access_token) for account in (first, second, third)]
        assert refused == [True, True, False]

    async def test_sessions_of_others_stay(self, runtime: Runtime, accounts: Accounts) -> None:
        mine, theirs = await accounts.register(), await accounts.register()
        assert await revoke(runtime, mine, only=session_id(runtime, theirs)) == []
        await revoke(runtime, mine)
        assert not is_refused(runtime, theirs.access_token)

    async def test_each_is_on_record_and_published(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.register()
        await accounts.log_in(account)
        ended = await revoke(runtime, account)
        async with runtime.database.reading() as db:
            recorded = await db.scalars(
                select(AuditEvent.user_session_id).where(AuditEvent.action == AuditAction.SESSION_REVOKED)
            )
            published = await db.scalars(select(Revocation.user_session_id))
            reasons = await db.scalars(select(UserSession.revoked_reason))
            assert set(recorded) == set(published) == set(ended)
            assert set(reasons) == {RevocationReason.LOGOUT_ALL}

    async def test_a_session_that_expired_before_its_access_token(
        self, runtime: Runtime, accounts: Accounts, noon: datetime
    ) -> None:
        """A refresh in a login's last minute gives a token that outlives the login: it can still be ended."""
        account = await accounts.register()
        token = account.data["refresh_token"]
        with time_machine.travel(noon + timedelta(days=13), tick=False) as traveller:
            token = (await refresh(runtime, token)).refresh_token
            traveller.shift(timedelta(days=13))
            token = (await refresh(runtime, token)).refresh_token
            traveller.move_to(noon + timedelta(days=30, minutes=-5))
            last = await refresh(runtime, token)
            traveller.shift(timedelta(minutes=10))
            assert not is_refused(runtime, last.access_token)
            await revoke(runtime, account)
            assert is_refused(runtime, last.access_token)

    async def test_a_rollback_revokes_nothing(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.register()
        with pytest.raises(RuntimeError):
            await self.fail_after_revoking(runtime, account)
        assert not is_refused(runtime, account.access_token)
        await refresh(runtime, account.data["refresh_token"])

    @staticmethod
    async def fail_after_revoking(runtime: Runtime, account: Account) -> None:
        async with runtime.database.unit_of_work() as db:
            await revocation.revoke_user_sessions(
                db, runtime, user_id=account.id, reason=RevocationReason.LOGOUT_ALL
            )
            after_commit(db, lambda: pytest.fail("called although nothing was committed"))
            raise RuntimeError


def session_id(runtime: Runtime, account: Account) -> UUID:
    return runtime.refresh_tokens.parse(account.data["refresh_token"]).session_id
