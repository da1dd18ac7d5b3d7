"""Following the revocations: what happens when the feed misbehaves."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from authapi import clock
from authapi.verify import InvalidAccessToken, VerificationUnavailable, Verifier
from authapi.verify.feed import FEED_PATH
from tests.verify.troubled_authapi import AUDIENCE, ISSUER, TroubledAuthapi

PATIENCE = timedelta(seconds=1)


@asynccontextmanager
async def following(troubled: TroubledAuthapi, **options: Any) -> AsyncIterator[Verifier]:
    given: dict[str, Any] = {"feed_token": "t", "max_staleness": PATIENCE} | options
    async with Verifier(issuer=ISSUER, audience=AUDIENCE, url=troubled.url, **given) as verifier:
        yield verifier


async def eventually_raises(kind: type[Exception], verifier: Verifier, token: str) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            await verifier.verify(token)
        except kind:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{kind.__name__} was not raised")


async def eventually_accepts(verifier: Verifier, token: str) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            await verifier.verify(token)
        except VerificationUnavailable:
            await asyncio.sleep(0.05)
        else:
            return
    pytest.fail("the token was not accepted")


async def asked_again(troubled: TroubledAuthapi, *, times: int) -> None:
    wanted = len(troubled.queries) + times
    async with asyncio.timeout(15):
        while len(troubled.queries) < wanted:  # noqa: ASYNC110 - the stand-in lives on another thread's loop
            await asyncio.sleep(0.02)


class TestFollowing:
    async def test_a_revoked_session(self, troubled: TroubledAuthapi) -> None:
        token = troubled.token()
        async with following(troubled) as verifier:
            claims = await verifier.verify(token)
            troubled.revoke_session(claims.sid)  # type: ignore[arg-type]
            await eventually_raises(InvalidAccessToken, verifier, token)

    async def test_a_voided_subject(self, troubled: TroubledAuthapi) -> None:
        now = int(clock.utc_now().timestamp())
        old = troubled.token(sub="u", user_id="u", iat=now)
        new = troubled.token(sub="u", user_id="u", iat=now + 1)
        async with following(troubled) as verifier:
            await verifier.verify(old)
            troubled.revoke_subject("u", clock.utc_now().replace(microsecond=999_999).isoformat())
            await eventually_raises(InvalidAccessToken, verifier, old)
            if int(clock.utc_now().timestamp()) == now:
                await verifier.verify(new)

    async def test_what_was_revoked_before_the_start(self, troubled: TroubledAuthapi) -> None:
        token = troubled.token(sid="01981d5a-6c11-7d0a-8f2c-0f7a9b1e8a54")
        troubled.revocations = [
            {"session_id": "01981d5a-6c11-7d0a-8f2c-0f7a9b1e8a54", "expires_at": "2999-01-01T00:00:00Z"}
        ]
        async with following(troubled) as verifier:
            with pytest.raises(InvalidAccessToken, match="session_revoked"):
                await verifier.verify(token)

    async def test_it_reads_on_and_waits(self, troubled: TroubledAuthapi) -> None:
        async with following(troubled, max_staleness=timedelta(seconds=5)):
            await asyncio.sleep(1)
        assert troubled.queries[0] == "wait=0"
        assert set(troubled.queries[1:]) == {"wait=1&since=one"}
        # The stand-in does not wait; that must not become a busy loop.
        assert len(troubled.queries) < 8

    async def test_credentials(self, troubled: TroubledAuthapi) -> None:
        async with following(troubled):
            pass
        assert troubled.authorization == {"Bearer t"}
        troubled.authorization.clear()
        async with following(troubled, feed_token=None, client_id="svc:1", client_secret="a b"):
            pass
        assert troubled.authorization == {"Basic c3ZjJTNBMTphK2I="}


class TestTrouble:
    @pytest.mark.parametrize("status", [302, 401, 403, 429, 500, 503])
    async def test_refused(self, troubled: TroubledAuthapi, status: int) -> None:
        token = troubled.token()
        async with following(troubled) as verifier:
            await verifier.verify(token)
            troubled.status[FEED_PATH] = status
            started = time.monotonic()
            await eventually_raises(VerificationUnavailable, verifier, token)
            assert time.monotonic() - started < 3
            del troubled.status[FEED_PATH]
            await eventually_accepts(verifier, token)

    @pytest.mark.parametrize(
        "entry",
        [
            {},
            {"session_id": "x", "expires_at": "2999-01-01T00:00:00Z"},
            {"session_id": "01981d5a-6c11-7d0a-8f2c-0f7a9b1e8a54"},
            {"something_new": "x", "expires_at": "2999-01-01T00:00:00Z"},
        ],
    )
    async def test_an_entry_that_is_not_understood(
        self, troubled: TroubledAuthapi, entry: dict[str, str]
    ) -> None:
        troubled.revocations = [entry]
        async with following(troubled) as verifier:
            with pytest.raises(VerificationUnavailable):
                await verifier.verify(troubled.token())

    async def test_silence(self, troubled: TroubledAuthapi) -> None:
        token = troubled.token()
        async with following(troubled) as verifier:
            await verifier.verify(token)
            troubled.delay = 4
            await eventually_raises(VerificationUnavailable, verifier, token)

    async def test_an_unknown_cursor_starts_over(self, troubled: TroubledAuthapi) -> None:
        async with following(troubled) as verifier:
            await asked_again(troubled, times=2)
            troubled.status[FEED_PATH] = 422
            await asked_again(troubled, times=2)
            troubled.queries.clear()
            del troubled.status[FEED_PATH]
            await asked_again(troubled, times=2)
            assert "since" not in troubled.queries[0]
            assert "since" in troubled.queries[1]
            await verifier.verify(troubled.token())

    async def test_a_service_may_start_before_authapi(self, troubled: TroubledAuthapi) -> None:
        troubled.status[FEED_PATH] = 503
        async with following(troubled) as verifier:
            with pytest.raises(VerificationUnavailable):
                await verifier.verify(troubled.token())
            del troubled.status[FEED_PATH]
            await eventually_accepts(verifier, troubled.token())

    async def test_the_log_tells_once_and_no_secret(
        self, troubled: TroubledAuthapi, caplog: pytest.LogCaptureFixture
    ) -> None:
        troubled.status[FEED_PATH] = 401
        with caplog.at_level("INFO", logger="authapi.verify"):
            async with following(troubled, feed_token="very-secret") as verifier:
                await asyncio.sleep(1.2)
                del troubled.status[FEED_PATH]
                await eventually_accepts(verifier, troubled.token())
        assert [record.getMessage() for record in caplog.records if record.name == "authapi.verify"] == [
            "the revocations of authapi cannot be followed: status 401",
            "the revocations of authapi are followed again",
        ]
        assert "very-secret" not in caplog.text
