"""Opening, listing and ending sessions."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import time_machine

from authapi import clock, errors
from authapi.models import UserSession
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import user_sessions
from authapi.services.rights import rights_in_session
from authapi.services.user_sessions import SessionTokens
from tests.conftest import MakeApp, http_client
from tests.support.accounts import Account, Accounts


async def open_session(runtime: Runtime, account: Account) -> SessionTokens:
    async with runtime.database.unit_of_work() as db:
        user = await users.find_for_update(db, account.id)
        assert user is not None
        return await user_sessions.open_session(db, runtime, user=user, amr=["pwd"])


async def list_sessions(runtime: Runtime, account: Account) -> list[UserSession]:
    async with runtime.database.reading() as db:
        return await user_sessions.list_sessions(db, user_id=account.id)


async def end_session(runtime: Runtime, user_id: UUID, user_session_id: UUID) -> None:
    async with runtime.database.unit_of_work() as db:
        await user_sessions.end_session(db, runtime, user_id=user_id, user_session_id=user_session_id)


class TestOpenSession:
    async def test_the_ones_used_longest_ago_end_beyond_the_cap(self, make_app: MakeApp) -> None:
        async with make_app(session={"max_per_user": 3}) as app, http_client(app) as client:
            runtime: Runtime = app.state.runtime
            account = await Accounts(client, runtime).register()
            start = clock.utc_now() + timedelta(minutes=1)
            opened = []
            with time_machine.travel(start, tick=False) as traveller:
                for _ in range(5):
                    traveller.shift(timedelta(seconds=1))
                    opened.append(await open_session(runtime, account))
                live = [session.id for session in await list_sessions(runtime, account)]
                assert live == [tokens.user_session.id for tokens in reversed(opened[2:])]
                for tokens in opened[:2]:
                    with pytest.raises(errors.InvalidAccessToken):
                        runtime.tokens.verify(tokens.access_token)
                for tokens in opened[2:]:
                    runtime.tokens.verify(tokens.access_token)

    async def test_expired_ones_do_not_count(self, make_app: MakeApp) -> None:
        async with make_app(session={"max_per_user": 2}) as app, http_client(app) as client:
            runtime: Runtime = app.state.runtime
            account = await Accounts(client, runtime).register()
            with time_machine.travel(clock.utc_now() + timedelta(days=15), tick=False):
                first = await open_session(runtime, account)
                second = await open_session(runtime, account)
                live = {session.id for session in await list_sessions(runtime, account)}
                assert live == {first.user_session.id, second.user_session.id}


class TestEndSession:
    async def test_own_once(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.register()
        (session,) = await list_sessions(runtime, account)
        await end_session(runtime, account.id, session.id)
        assert await list_sessions(runtime, account) == []
        with pytest.raises(errors.SessionNotFound):
            await end_session(runtime, account.id, session.id)

    async def test_that_of_somebody_else_and_none(self, runtime: Runtime, accounts: Accounts) -> None:
        mine, theirs = await accounts.register(), await accounts.register()
        (session,) = await list_sessions(runtime, theirs)
        for user_session_id in (session.id, uuid4()):
            with pytest.raises(errors.SessionNotFound):
                await end_session(runtime, mine.id, user_session_id)
        assert len(await list_sessions(runtime, theirs)) == 1


class TestNarrow:
    async def test_what_was_asked_for_and_is_allowed(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.with_roles("auditor")
        async with runtime.database.reading() as db:
            user = await users.find_by_id(db, account.id)
            assert user is not None
        permissions = rights_in_session(user, amr=["pwd"]).permissions
        everything = user_sessions.narrow(permissions, requested=None)
        assert "audit:read" in everything
        assert everything == sorted(everything)
        narrowed = user_sessions.narrow(permissions, requested="audit:read users:write nonsense")
        assert narrowed == ["audit:read"]
        assert user_sessions.narrow(permissions, requested="") == []
