"""Refreshes that come at once: on PostgreSQL one transaction for many, and each judged as if it were alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select

from authapi import clock, errors
from authapi.models import UserSession
from authapi.runtime import Runtime
from authapi.services import token_refresh
from authapi.services.user_sessions import SessionTokens
from tests.services.test_login import change_user
from tests.support.accounts import Account, Accounts
from tests.support.statements import recorded_statements


@asynccontextmanager
async def locked(runtime: Runtime, account: Account) -> AsyncIterator[None]:
    """Somebody changes the user's sessions and takes his time."""
    async with runtime.database.unit_of_work() as db:
        await db.execute(select(UserSession).where(UserSession.user_id == account.id).with_for_update())
        yield


async def refresh_all(runtime: Runtime, tokens: list[str]) -> list[SessionTokens | BaseException]:
    return await asyncio.gather(
        *(token_refresh.refresh(runtime, refresh_token=token) for token in tokens), return_exceptions=True
    )


async def register_all(accounts: Accounts, number: int) -> tuple[list[Account], list[str]]:
    registered = [await accounts.register() for _ in range(number)]
    return registered, [account.data["refresh_token"] for account in registered]


async def test_thirty_sessions_rotate_in_a_few_transactions(runtime: Runtime, accounts: Accounts) -> None:
    registered, tokens = await register_all(accounts, 30)
    with recorded_statements(runtime) as statements:
        pairs = await refresh_all(runtime, tokens)
    rotations = [statement for statement in statements if "SET generation=" in statement]
    assert len(rotations) <= (len(tokens) if runtime.database.is_sqlite else 3)
    for account, token, pair in zip(registered, tokens, pairs, strict=True):
        assert isinstance(pair, SessionTokens)
        assert runtime.tokens.verify(pair.access_token).claims.sub == str(account.id)
        old, new = map(runtime.refresh_tokens.parse, (token, pair.refresh_token))
        assert (new.session_id, new.generation) == (old.session_id, old.generation + 1)


async def test_each_is_judged_by_itself(runtime: Runtime, accounts: Accounts) -> None:
    (_, twice, _, disabled, _), tokens = await register_all(accounts, 5)
    newest = tokens[2]
    for _ in range(2):
        newest = (await token_refresh.refresh(runtime, refresh_token=newest)).refresh_token
    await change_user(runtime, disabled, disabled_at=clock.utc_now())
    foreign = token_refresh.refresh(runtime, refresh_token=tokens[4], client_id="another-client")
    results, refused = await asyncio.gather(
        refresh_all(runtime, [tokens[0], tokens[1], tokens[1], tokens[2], tokens[3]]),
        asyncio.gather(foreign, return_exceptions=True),
    )
    fresh, first, second, reused, gone = results
    assert isinstance(fresh, SessionTokens)
    # Two tabs: one rotates, and both get the same token.
    assert isinstance(first, SessionTokens)
    assert isinstance(second, SessionTokens)
    assert first.refresh_token == second.refresh_token
    assert first.user_session.user_id == twice.id
    assert isinstance(reused, errors.RefreshTokenReused)
    with pytest.raises(errors.InvalidRefreshToken, match="session_ended"):
        await token_refresh.refresh(runtime, refresh_token=newest)
    assert isinstance(gone, errors.InvalidRefreshToken)
    assert isinstance(refused[0], errors.InvalidRefreshToken)
    # Whom a refusal concerns keeps his generation.
    await change_user(runtime, disabled, disabled_at=None)
    for token in (tokens[3], tokens[4]):
        assert (await token_refresh.refresh(runtime, refresh_token=token)).user_session.generation == 1


async def test_a_locked_session_keeps_nobody_else_waiting(runtime: Runtime, accounts: Accounts) -> None:
    if runtime.database.is_sqlite:
        pytest.skip("SQLite locks the whole database: every writer waits for every other one")
    (held, _, _), tokens = await register_all(accounts, 3)
    async with locked(runtime, held):
        waiting = asyncio.create_task(token_refresh.refresh(runtime, refresh_token=tokens[0]))
        others = await asyncio.wait_for(refresh_all(runtime, tokens[1:]), 1)
        assert all(isinstance(pair, SessionTokens) for pair in others)
        assert not waiting.done()
    assert (await waiting).user_session.generation == 1


async def test_of_many_uses_of_one_token_at_once_one_rotates(runtime: Runtime, accounts: Accounts) -> None:
    _, tokens = await register_all(accounts, 1)
    # No more than the pool serves in the second that one waits for a connection, however busy the machine.
    pairs = await refresh_all(runtime, tokens * 20)
    assert {pair.refresh_token if isinstance(pair, SessionTokens) else repr(pair) for pair in pairs} == {
        runtime.refresh_tokens.issue(runtime.refresh_tokens.parse(tokens[0]).session_id, 1)
    }
