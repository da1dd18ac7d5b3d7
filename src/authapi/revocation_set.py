"""The revocations that still matter, in memory: access tokens are checked without a look-up."""

import asyncio
import time
from datetime import datetime, timedelta
from uuid import UUID

from authapi import clock, errors
from authapi.security.access_tokens import AccessTokenClaims

# Entries are dropped in passing, at most this often.
SWEEP_SECONDS = 30


class RevocationSet:
    """Revoked sessions, and per subject the instant up to which its tokens are void.

    Refuses to answer when it has not been refreshed for `max_staleness`: what cannot be checked is not
    allowed. The age is measured on the monotonic clock, which does not jump.
    """

    def __init__(self, *, max_staleness: timedelta) -> None:
        self._max_staleness = max_staleness.total_seconds()
        self._sessions: dict[str, datetime] = {}
        self._subjects: dict[str, tuple[int, datetime]] = {}
        self._confirmed_at: float | None = None
        self._swept_at = time.monotonic()
        # The next entry that says something new sets it, and puts another in its place.
        self.changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sessions) + len(self._subjects)

    @property
    def staleness(self) -> float | None:
        """Seconds since the set was known to be complete; None before the first time."""
        return None if self._confirmed_at is None else time.monotonic() - self._confirmed_at

    def add_session(self, user_session_id: UUID, *, expires_at: datetime) -> None:
        """Refuse a session's tokens from now on; `expires_at` is when the last of them has expired."""
        key = str(user_session_id)
        is_new = key not in self._sessions
        self._sessions[key] = expires_at
        if is_new:
            self._announce()

    def add_subject(self, subject: str, *, not_before: datetime, expires_at: datetime) -> None:
        """Refuse a subject's tokens that were issued up to the second of `not_before`."""
        second = int(not_before.timestamp())
        known = self._subjects.get(subject)
        if known is None or known[0] < second:
            self._subjects[subject] = (second, expires_at)
            self._announce()

    def confirm(self, *, read_at: float) -> None:
        """State that everything committed before `read_at` (monotonic seconds) is in the set."""
        self._confirmed_at = read_at
        if read_at - self._swept_at > SWEEP_SECONDS:
            self._swept_at = read_at
            self._drop_expired()

    def check(self, claims: AccessTokenClaims) -> None:
        """Raises `InvalidAccessToken` for a revoked token, `RevocationsUnknown` when out of touch."""
        if self._confirmed_at is None or time.monotonic() - self._confirmed_at > self._max_staleness:
            raise errors.RevocationsUnknown("revocations could not be followed")
        if claims.sid is not None and claims.sid in self._sessions:
            raise errors.InvalidAccessToken("session_revoked")
        subject = self._subjects.get(claims.sub)
        if subject is not None and claims.iat <= subject[0]:
            raise errors.InvalidAccessToken("issued_before_revocation")

    def _announce(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def _drop_expired(self) -> None:
        now = clock.utc_now()
        self._sessions = {key: at for key, at in self._sessions.items() if at > now}
        self._subjects = {key: value for key, value in self._subjects.items() if value[1] > now}
