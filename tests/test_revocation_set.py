"""The revocations in memory: what is refused, for how long, and when nothing can be said."""

import time
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
import time_machine

from authapi import clock, errors
from authapi.revocation_set import SWEEP_SECONDS, RevocationSet
from authapi.security.access_tokens import AccessTokenClaims

NOON = datetime.fromisoformat("2026-06-01T12:00:00.700+00:00")
HOUR = timedelta(hours=1)
SESSION = uuid4()
CLAIMS = AccessTokenClaims(
    iss="https://auth.example.com",
    aud="authapi",
    sub="user",
    client_id="authapi",
    iat=int(NOON.timestamp()),
    exp=int(NOON.timestamp()) + 3600,
    jti="one",
    scope="",
    sid=str(SESSION),
)


@pytest.fixture
def revocations() -> RevocationSet:
    revocations = RevocationSet(max_staleness=timedelta(seconds=5))
    revocations.confirm(read_at=time.monotonic())
    return revocations


class TestCheck:
    def test_nothing_is_revoked(self, revocations: RevocationSet) -> None:
        revocations.check(CLAIMS)

    def test_a_session(self, revocations: RevocationSet) -> None:
        revocations.add_session(SESSION, expires_at=clock.utc_now() + HOUR)
        with pytest.raises(errors.InvalidAccessToken, match="session_revoked"):
            revocations.check(CLAIMS)
        revocations.check(replace(CLAIMS, sid=str(uuid4())))
        revocations.check(replace(CLAIMS, sid=None))

    @pytest.mark.parametrize(("seconds", "is_refused"), [(-1, True), (0, True), (1, False)])
    def test_a_subject_up_to_a_second(
        self, revocations: RevocationSet, seconds: int, is_refused: bool
    ) -> None:
        revocations.add_subject("user", not_before=NOON, expires_at=clock.utc_now() + HOUR)
        claims = replace(CLAIMS, iat=CLAIMS.iat + seconds)
        revocations.check(replace(claims, sub="somebody else"))
        if is_refused:
            with pytest.raises(errors.InvalidAccessToken, match="issued_before_revocation"):
                revocations.check(claims)
        else:
            revocations.check(claims)

    def test_the_latest_instant_counts_in_whatever_order_they_come(self, revocations: RevocationSet) -> None:
        for seconds in (10, 0, 5):
            revocations.add_subject(
                "user", not_before=NOON + timedelta(seconds=seconds), expires_at=clock.utc_now() + HOUR
            )
        with pytest.raises(errors.InvalidAccessToken):
            revocations.check(replace(CLAIMS, iat=CLAIMS.iat + 10))
        revocations.check(replace(CLAIMS, iat=CLAIMS.iat + 11))


class TestStaleness:
    def test_unknown_until_the_first_reading(self) -> None:
        revocations = RevocationSet(max_staleness=timedelta(seconds=5))
        assert revocations.staleness is None
        with pytest.raises(errors.RevocationsUnknown):
            revocations.check(CLAIMS)

    def test_counted_from_when_the_reading_began(self, revocations: RevocationSet) -> None:
        revocations.confirm(read_at=time.monotonic() - 4)
        revocations.check(CLAIMS)
        revocations.confirm(read_at=time.monotonic() - 5.1)
        assert revocations.staleness is not None
        assert revocations.staleness > 5
        with pytest.raises(errors.RevocationsUnknown) as refused:
            revocations.check(CLAIMS)
        assert refused.value.status_code == 503
        assert refused.value.retry_after

    def test_the_wall_clock_does_not_matter(self, revocations: RevocationSet) -> None:
        for days in (-1, 1):
            with time_machine.travel(clock.utc_now() + timedelta(days=days)):
                revocations.check(CLAIMS)


class TestSweep:
    def test_entries_go_when_their_last_token_has_expired(self, revocations: RevocationSet) -> None:
        now, read_at = clock.utc_now(), time.monotonic()
        for hours in (-1, 1):
            revocations.add_session(uuid4(), expires_at=now + hours * HOUR)
            revocations.add_subject(f"subject {hours}", not_before=now, expires_at=now + hours * HOUR)
        revocations.confirm(read_at=read_at)
        assert len(revocations) == 4
        revocations.confirm(read_at=read_at + SWEEP_SECONDS + 1)
        assert len(revocations) == 2
