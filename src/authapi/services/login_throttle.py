"""Account throttling: guessing a password gets slow, then impossible, and the owner still gets in.

Every try is counted before its password is hashed and taken back if it was right. Counting first is what
makes 200 parallel guesses as expensive as 200 in a row, and a refused try costs no hash.

Three counters stand between a stranger and an account: one of the account, over all sources; one of the
account and the source together; and one of the source, over all accounts. A device that has logged in to
the account before has a budget of its own instead. Accounts that do not exist are counted alike, so that a
refusal does not tell whether one does (ASVS 6.1.1, 6.3.1, 6.3.8; NIST SP 800-63B 3.2.2).
"""

import hmac
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors, request_context
from authapi.client_address import rate_limit_key
from authapi.enums import AuditAction
from authapi.models import KnownDevice, User
from authapi.repositories import audit_events, login_throttles, user_sessions
from authapi.repositories import known_devices as device_rows
from authapi.repositories.login_throttles import Count
from authapi.runtime import Runtime
from authapi.services import known_devices

KEY_PURPOSE = "login-throttle"


@dataclass(frozen=True, slots=True)
class Rule:
    """After `free` failures each further one doubles a wait; `limit` failures end the window's tries."""

    free: int
    limit: int
    longest_wait: timedelta = timedelta(minutes=15)

    def wait(self, failures: int) -> timedelta:
        """How long to refuse further tries after this many failures."""
        if failures < self.free:
            return timedelta(0)
        # 2**20 seconds is beyond every longest wait.
        return min(self.longest_wait, timedelta(seconds=2 ** min(failures - self.free, 20)))


WINDOW = timedelta(days=1)
# At most 100 wrong passwords for an account and day, from any number of sources.
ACCOUNT = Rule(free=20, limit=100)
PAIR = Rule(free=8, limit=50)
# Offices and mobile networks share addresses: many people's typing errors, not a hundred thousand guesses.
SOURCE = Rule(free=200, limit=2000, longest_wait=timedelta(minutes=1))
DEVICE = Rule(free=10, limit=50)
# Of a million codes three are right at any time.
CODE = Rule(free=5, limit=20)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A counted try: what to take back and what to forget if it was right."""

    key_hashes: tuple[bytes, ...]
    own_key_hashes: tuple[bytes, ...]
    device: KnownDevice | None
    # The account's counter was blocked by this very try, for the first time in its window.
    has_just_blocked: bool
    # The blocks that this try set.
    blocked_until: tuple[datetime, ...]


async def begin(
    db: AsyncSession,
    runtime: Runtime,
    *,
    identifier: str,
    user_id: UUID | None,
    device_token: str | None = None,
    user_session_id: UUID | None = None,
) -> Attempt:
    """Count a try before anything is hashed; the caller commits it by handing back the connection.

    `identifier` is the canonical address, or what was typed instead of one. A known device, and a live session for
    what asks for the password once more, have a budget of their own. Raises `TooManyAttempts`; a refused try is
    not counted, so that hammering does not lengthen the wait.
    """
    device = await known_devices.recognise(db, runtime, user_id=user_id, device_token=device_token)
    if user_session_id is not None:
        rules = {_key(runtime, "session", str(user_session_id)): DEVICE}
    elif device is not None:
        rules = {_key(runtime, "device", str(device.id)): DEVICE}
    else:
        rules = _rules_for_strangers(runtime, identifier)
    return await _count(db, rules, device=device)


async def begin_code(db: AsyncSession, runtime: Runtime, *, user_id: UUID) -> Attempt:
    """Count a try of a second factor's code; raises `TooManyAttempts`.

    One counter per user is enough, whatever the source: only a caller who knows the password gets here.
    """
    return await _count(db, {_key(runtime, "code", str(user_id)): CODE}, device=None)


async def succeeded(db: AsyncSession, attempt: Attempt) -> None:
    """The password was right: take the try back and forget the failures of this source with this account.

    Nothing more: an attacker must not clear the failures of a source by logging in to an account of their own.
    """
    await _take_back(db, attempt, forgetting=attempt.own_key_hashes)


async def not_tried(db: AsyncSession, attempt: Attempt) -> None:
    """Take the try back: the hashing queue was full, so the password was not checked."""
    await _take_back(db, attempt)


async def unlock(db: AsyncSession, runtime: Runtime, *, user: User) -> None:
    """Clear every counter of a user's failed passwords and codes: account, sources, devices and sessions."""
    now = clock.utc_now()
    sources = await audit_events.list_addresses(
        db, AuditAction.USER_LOGIN_FAILED, subject_id=user.id, since=now - WINDOW
    )
    own_budgets = {
        "device": await device_rows.list_ids(db, user_id=user.id),
        "session": [one.id for one in await user_sessions.list_live(db, user_id=user.id, now=now)],
        "code": [user.id],
    }
    keys = [
        _account_key(runtime, user.email_canonical),
        *(_pair_key(runtime, user.email_canonical, rate_limit_key(source)) for source in sources),
        *(_key(runtime, kind, str(id)) for kind, ids in own_budgets.items() for id in ids),
    ]
    await login_throttles.clear(db, keys)


async def forget_codes(db: AsyncSession, runtime: Runtime, *, user_id: UUID) -> None:
    """Forget the wrong codes that were given for a second factor which has been removed."""
    await login_throttles.clear(db, [_key(runtime, "code", str(user_id))])


async def _count(db: AsyncSession, rules: dict[bytes, Rule], *, device: KnownDevice | None) -> Attempt:
    now = clock.utc_now()
    keys, window_start = list(rules), now - WINDOW
    counts = await login_throttles.count_unless_blocked(
        db, keys, now=now, window_start=window_start, expires_at=now + WINDOW
    )
    if not counts:
        until = await login_throttles.find_latest_block(db, keys, window_start=window_start)
        # The block may have ended between the two statements: the caller may then try again after a second.
        raise errors.TooManyAttempts(retry_after=max(1.0, (until - now).total_seconds() if until else 0.0))
    refused_for = [_seconds_left(count, rules[key], now) for key, count in counts.items()]
    if any(refused_for):
        raise errors.TooManyAttempts(retry_after=max(refused_for))
    just_blocked = False
    blocks = []
    for key, count in counts.items():
        wait = WINDOW if count.failures >= rules[key].limit else rules[key].wait(count.failures)
        if wait:
            await login_throttles.block(db, key, until=now + wait)
            blocks.append(now + wait)
        just_blocked = just_blocked or (rules[key] is ACCOUNT and count.failures == ACCOUNT.free)
    own = tuple(key for key, rule in rules.items() if rule in {PAIR, DEVICE, CODE})
    return Attempt(tuple(rules), own, device, just_blocked, tuple(blocks))


async def _take_back(db: AsyncSession, attempt: Attempt, *, forgetting: Sequence[bytes] = ()) -> None:
    await login_throttles.uncount(
        db,
        attempt.key_hashes,
        now=clock.utc_now(),
        unblocking=attempt.blocked_until,
        forgetting=forgetting,
    )


def _rules_for_strangers(runtime: Runtime, identifier: str) -> dict[bytes, Rule]:
    source = rate_limit_key(request_context.current().ip or "")
    return {
        _account_key(runtime, identifier): ACCOUNT,
        _pair_key(runtime, identifier, source): PAIR,
        _key(runtime, "source", source): SOURCE,
    }


def _account_key(runtime: Runtime, identifier: str) -> bytes:
    return _key(runtime, "account", _folded(identifier))


def _pair_key(runtime: Runtime, identifier: str, source: str) -> bytes:
    return _key(runtime, "pair", _folded(identifier), source)


def _folded(identifier: str) -> str:
    """One counter key for all spellings of a malformed address; a canonical address is left unchanged."""
    return unicodedata.normalize("NFKC", identifier).strip().lower()


def _key(runtime: Runtime, *parts: str) -> bytes:
    message = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hmac.digest(runtime.derived_keys.current(KEY_PURPOSE), message, "sha256")


def _seconds_left(count: Count, rule: Rule, now: datetime) -> float:
    if count.blocked_until is not None and count.blocked_until > now:
        return (count.blocked_until - now).total_seconds()
    # Over the limit and not blocked yet: the parallel try that reached the limit is about to set the block.
    return 1.0 if count.failures > rule.limit else 0.0
