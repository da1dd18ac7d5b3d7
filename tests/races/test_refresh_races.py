"""One refresh token in many hands at once: it rotates once, and there is never a second family."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from authapi import clock, errors
from authapi.enums import AuditAction, RevocationReason
from authapi.models import AuditEvent, UserSession
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import revocation, token_refresh, user_sessions
from authapi.services.user_sessions import SessionTokens
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Account, Accounts

# AUTHAPI_TEST_MANY_REFRESHES=1 asks for two hundred tokens with fifty uses each, which takes minutes.
TOKENS, USES = (200, 50) if os.environ.get("AUTHAPI_TEST_MANY_REFRESHES") else (50, 8)
RACERS = 50
ROUNDS = 50


async def refresh(runtime: Runtime, token: str) -> SessionTokens:
    return await token_refresh.refresh(runtime, refresh_token=token)


async def open_sessions(runtime: Runtime, account: Account, number: int) -> list[SessionTokens]:
    """Sessions without the password checks that would lead to them."""
    opened = []
    async with runtime.database.unit_of_work() as db:
        user = await users.find_for_update(db, account.id)
        assert user is not None
        for _ in range(number):
            opened.append(await user_sessions.open_session(db, runtime, user=user, amr=["pwd"]))
    return opened


async def load(runtime: Runtime, user_session_id: UUID) -> UserSession:
    async with runtime.database.reading() as db:
        found = await db.get(UserSession, user_session_id)
        assert found is not None
        return found


async def disable(runtime: Runtime, account: Account) -> None:
    async with runtime.database.unit_of_work() as db:
        user = await users.find_for_update(db, account.id)
        assert user is not None
        user.disabled_at = clock.utc_now()
        await db.flush()
        await revocation.revoke_user_sessions(
            db, runtime, user_id=user.id, reason=RevocationReason.USER_DISABLED
        )


async def enable(runtime: Runtime, account: Account) -> None:
    async with runtime.database.unit_of_work() as db:
        user = await users.find_for_update(db, account.id)
        assert user is not None
        user.disabled_at = None


@pytest.fixture
async def roomy_app(make_app: MakeApp) -> AsyncIterator[FastAPI]:
    """An application with a connection for each of fifty racers."""
    async with make_app(database={"pool_size": RACERS, "timeout": "20s"}) as app:
        yield app


@pytest.mark.slow
async def test_every_token_rotates_once(roomy_app: FastAPI) -> None:
    runtime: Runtime = roomy_app.state.runtime
    async with http_client(roomy_app) as client:
        account = await Accounts(client, runtime).register()
    for _ in range(TOKENS // 50):
        for opened in await open_sessions(runtime, account, 50):
            pairs = await asyncio.gather(*(refresh(runtime, opened.refresh_token) for _ in range(USES)))
            assert len({pair.refresh_token for pair in pairs}) == 1
            session = await load(runtime, opened.user_session.id)
            assert session.generation == 1
            assert session.revoked_at is None
    async with runtime.database.reading() as db:
        reused = select(func.count()).select_from(AuditEvent)
        reused = reused.where(AuditEvent.action == AuditAction.SESSION_REFRESH_REUSE_DETECTED)
        assert await db.scalar(reused) == 0


async def test_at_the_edge_of_http_nobody_sees_an_error(roomy_app: FastAPI) -> None:
    async with http_client(roomy_app) as client:
        token = (await Accounts(client, roomy_app.state.runtime).register()).data["refresh_token"]
        for _ in range(2):
            body = {"refresh_token": token}
            responses = await asyncio.gather(
                *(client.post("/api/auth/refresh", json=body) for _ in range(RACERS))
            )
            assert {response.status_code for response in responses} == {200}
            (token,) = {response.json()["data"]["refresh_token"] for response in responses}


async def test_generations_in_many_hands(roomy_app: FastAPI) -> None:
    """Current, previous and older tokens at once: whoever wins, the older one ends the session for all."""
    runtime: Runtime = roomy_app.state.runtime
    async with http_client(roomy_app) as client:
        account = await Accounts(client, runtime).register()
    for opened in await open_sessions(runtime, account, 10):
        first = await refresh(runtime, opened.refresh_token)
        second = await refresh(runtime, first.refresh_token)
        tokens = [opened.refresh_token, first.refresh_token, second.refresh_token] * 5
        results = await gather_outcomes([refresh(runtime, token) for token in tokens])
        assert all(isinstance(result, errors.InvalidRefreshToken) for result in results[0::3])
        assert sum(isinstance(result, errors.RefreshTokenReused) for result in results) >= 1
        session = await load(runtime, opened.user_session.id)
        assert session.revoked_reason == RevocationReason.REFRESH_TOKEN_REUSED
        for result in results:
            if isinstance(result, SessionTokens):
                with pytest.raises(errors.InvalidRefreshToken):
                    await refresh(runtime, result.refresh_token)
                with pytest.raises(errors.InvalidAccessToken):
                    runtime.tokens.verify(result.access_token)


async def test_refresh_while_the_user_logs_out(runtime: Runtime, accounts: Accounts) -> None:
    account = await accounts.register()
    for opened in await open_sessions(runtime, account, 20):

        async def end(session_id: UUID = opened.user_session.id) -> None:
            async with runtime.database.unit_of_work() as db:
                await user_sessions.end_session(db, runtime, user_id=account.id, user_session_id=session_id)

        racing = [refresh(runtime, opened.refresh_token) for _ in range(6)]
        results = await gather_outcomes([*racing[:3], end(), *racing[3:]])
        for result in results:
            if isinstance(result, SessionTokens):
                with pytest.raises(errors.InvalidAccessToken):
                    runtime.tokens.verify(result.access_token)
                with pytest.raises(errors.InvalidRefreshToken):
                    await refresh(runtime, result.refresh_token)


async def test_everything_that_ends_sessions_at_once(runtime: Runtime, accounts: Accounts) -> None:
    """Several rows change in each of these transactions: none may wait for another in a circle."""
    account = await accounts.register()
    for _ in range(5):
        opened = await open_sessions(runtime, account, 20)

        async def end_all() -> None:
            async with runtime.database.unit_of_work() as db:
                await revocation.revoke_user_sessions(
                    db, runtime, user_id=account.id, reason=RevocationReason.LOGOUT_ALL
                )

        async def void() -> None:
            async with runtime.database.unit_of_work() as db:
                user = await users.find_for_update(db, account.id)
                assert user is not None
                await revocation.void_access_tokens(db, runtime, user=user)

        refreshes = [refresh(runtime, session.refresh_token) for session in opened]
        results = await gather_outcomes(
            [*refreshes[:10], void(), end_all(), void(), end_all(), *refreshes[10:], end_all()]
        )
        unexpected = [
            result
            for result in results
            if isinstance(result, BaseException) and not isinstance(result, errors.InvalidRefreshToken)
        ]
        assert unexpected == []
        for session in opened:
            with pytest.raises(errors.InvalidAccessToken):
                runtime.tokens.verify(session.access_token)


async def test_logins_while_the_user_is_disabled(app: FastAPI, runtime: Runtime, accounts: Accounts) -> None:
    """Once the disabling was answered, no session of the user works, whichever login came in between."""
    account = await accounts.register()
    body = {"email": account.email, "password": PASSWORD}
    async with http_client(app) as client:
        for _ in range(ROUNDS):
            logins = [client.post("/api/auth/login", json=body) for _ in range(2)]
            results = await asyncio.gather(logins[0], disable(runtime, account), logins[1])
            for response in results:
                if response is not None and response.status_code != 403:
                    token = response.json()["data"]["access_token"]
                    headers = {"Authorization": f"Bearer {token}"}
                    assert (await client.get("/api/auth/me", headers=headers)).status_code == 401
            async with runtime.database.reading() as db:
                live = select(func.count()).select_from(UserSession)
                live = live.where(UserSession.user_id == account.id, UserSession.revoked_at.is_(None))
                assert await db.scalar(live) == 0
            await enable(runtime, account)


async def gather_outcomes(racing: list[Awaitable[object]]) -> list[object]:
    """Run all at once; what they return or raise."""
    return list(await asyncio.gather(*racing, return_exceptions=True))
