"""Access tokens as a process issues and checks them: from memory, and from nothing else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from authapi import clock, errors, token_authority
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import token_refresh
from authapi.token_authority import IssuedAccessToken
from tests.support.accounts import Accounts

pytestmark = pytest.mark.one_database

ME = "/api/auth/me"
# Set while a test counts. Threads and tasks that it starts inherit it; background loops have none.
_COUNTED: ContextVar[list[str] | None] = ContextVar("counted", default=None)
_OUTSIDE_CALLS = {"open", "os.listdir", "socket.connect", "socket.sendto", "socket.getaddrinfo"}


def _note(name: str) -> None:
    calls = _COUNTED.get()
    if calls is not None:
        calls.append(name)


def _audit(name: str, _arguments: tuple[Any, ...]) -> None:
    if name in _OUTSIDE_CALLS or name.startswith("sqlite3."):
        _note(name)


@contextmanager
def counted_calls() -> Iterator[list[str]]:
    """Collects every statement, checkout, opened file and connection of what runs inside."""
    if not getattr(sys, "_authapi_test_hook", False):
        sys.addaudithook(_audit)  # stays for the life of the process, and is silent outside of the block
        sys._authapi_test_hook = True  # type: ignore[attr-defined]

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        _note(statement)

    def checked_out(*_: Any) -> None:
        _note("checkout")

    calls: list[str] = []
    event.listen(Engine, "before_cursor_execute", executed)
    event.listen(Pool, "checkout", checked_out)
    token = _COUNTED.set(calls)
    try:
        yield calls
    finally:
        _COUNTED.reset(token)
        event.remove(Engine, "before_cursor_execute", executed)
        event.remove(Pool, "checkout", checked_out)


class TestFromMemoryAlone:
    async def test_me_asks_nobody(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        warm, account = await accounts.register(), await accounts.register()
        await client.get(ME, headers=warm.headers)
        with counted_calls() as calls:
            for _ in range(2):
                assert (await client.get(ME, headers=account.headers)).status_code == 200
            assert (await client.get(ME, headers={"Authorization": "Bearer x"})).status_code == 401
            assert calls == []
            # What counts here does count.
            assert (await client.get("/api/auth/sessions", headers=account.headers)).status_code == 200
            assert "checkout" in calls
            assert any("user_sessions" in call for call in calls)
            with open(__file__):  # noqa: PTH123, ASYNC230, RUF100 - the call that is counted
                pass
            assert "open" in calls


def issue(runtime: Runtime, **overrides: Any) -> IssuedAccessToken:
    now = clock.utc_now()
    values: dict[str, Any] = {
        "user_id": uuid4(),
        "email": "ada@example.com",
        "roles": ["admin", "user"],
        "scope": "users:read",
        "user_session_id": uuid4(),
        "amr": ["pwd"],
        "auth_time": now,
        "issued_at": now,
        "not_before": None,
    }
    return runtime.tokens.issue_for_user(**(values | overrides))


class TestIssue:
    async def test_claims(self, runtime: Runtime) -> None:
        user_id, user_session_id = uuid4(), uuid4()
        issued = issue(runtime, user_id=user_id, user_session_id=user_session_id)
        verified = runtime.tokens.verify(issued.token)
        assert verified.claims.sub == verified.claims.user_id == str(user_id)
        assert verified.claims.role == "admin"
        assert verified.claims.exp - verified.claims.iat in {3600, 3601}
        assert issued.expires_in == 3600
        assert verified.principal is not None
        assert verified.principal.user_session_id == user_session_id
        assert verified.principal.scopes == {"users:read"}

    async def test_within_the_second_of_a_revocation_it_says_the_next(self, runtime: Runtime) -> None:
        with time_machine.travel(clock.utc_now().replace(microsecond=500_000), tick=False):
            now = clock.utc_now()
            claims = runtime.tokens.verify(issue(runtime, not_before=now).token).claims
            assert claims.iat == int(now.timestamp()) + 1
            assert claims.exp == claims.iat + 3600
            past = now - timedelta(hours=1)
            assert runtime.tokens.verify(issue(runtime, not_before=past).token).claims.iat == int(
                now.timestamp()
            )

    async def test_without_a_key(self, runtime: Runtime) -> None:
        other = Runtime.build(runtime.settings)
        with pytest.raises(errors.ServiceUnavailable):
            issue(other)
        await other.close()


class TestVerify:
    async def test_what_is_remembered_still_expires(self, runtime: Runtime) -> None:
        token = issue(runtime).token
        runtime.tokens.verify(token)
        with time_machine.travel(clock.utc_now() + timedelta(seconds=3635)):
            with pytest.raises(errors.InvalidAccessToken, match="expired"):
                runtime.tokens.verify(token)
        runtime.tokens.verify(token)
        with time_machine.travel(clock.utc_now() - timedelta(minutes=5)):
            with pytest.raises(errors.InvalidAccessToken, match="issued_in_the_future"):
                runtime.tokens.verify(token)

    async def test_what_is_remembered_can_be_revoked(self, runtime: Runtime) -> None:
        user_session_id = uuid4()
        token = issue(runtime, user_session_id=user_session_id).token
        runtime.tokens.verify(token)
        runtime.revocations.add_session(user_session_id, expires_at=clock.utc_now() + timedelta(hours=2))
        with pytest.raises(errors.InvalidAccessToken, match="session_revoked"):
            runtime.tokens.verify(token)

    async def test_a_token_of_a_longer_lifetime_ends_with_the_shorter_one(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its revocation is kept for as long as tokens live now; without this it would come back after that."""
        with monkeypatch.context() as patch:
            patch.setattr(runtime.tokens, "lifetime", timedelta(hours=12))
            known, unknown = issue(runtime).token, issue(runtime).token
            runtime.tokens.verify(known)
        lives = runtime.tokens.lifetime + clock.SKEW_MARGIN
        with time_machine.travel(clock.utc_now() + lives - timedelta(seconds=10)):
            runtime.tokens.verify(known)
        with time_machine.travel(clock.utc_now() + lives + timedelta(seconds=10)):
            for token in (known, unknown):
                with pytest.raises(errors.InvalidAccessToken, match="older_than_tokens_live"):
                    runtime.tokens.verify(token)

    async def test_only_so_many_are_remembered(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(token_authority, "MAX_REMEMBERED_TOKENS", 3)
        tokens = [issue(runtime).token for _ in range(5)]
        runtime.tokens._remembered.clear()
        for token in tokens:
            runtime.tokens.verify(token)
        assert len(runtime.tokens._remembered) == 3
        runtime.tokens.verify(tokens[0])

    async def test_a_refused_token_is_not_remembered(self, runtime: Runtime) -> None:
        runtime.tokens._remembered.clear()
        for token in ("", "a.b.c", issue(runtime).token[:-4] + "AAAA"):
            with pytest.raises(errors.InvalidAccessToken):
                runtime.tokens.verify(token)
        assert not runtime.tokens._remembered

    async def test_a_session_id_that_is_none(self, runtime: Runtime) -> None:
        token = issue(runtime, user_session_id="not a UUID").token
        with pytest.raises(errors.InvalidAccessToken):
            runtime.tokens.verify(token)


async def test_iat_is_what_the_session_has_on_record(runtime: Runtime, accounts: Accounts) -> None:
    """Whoever voids a user's tokens goes by `last_used_at`: every token says it, or the second after a void."""
    account = await accounts.register()
    token = account.data["refresh_token"]
    for _ in range(3):
        tokens = await token_refresh.refresh(runtime, refresh_token=token)
        async with runtime.database.reading() as db:
            user = await users.find_by_id(db, UUID(str(account.id)))
        assert user is not None
        token = tokens.refresh_token
        claims = runtime.tokens.verify(tokens.access_token).claims
        assert claims.iat == int(tokens.user_session.last_used_at.timestamp())
