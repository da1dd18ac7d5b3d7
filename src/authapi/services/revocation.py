"""Ends sessions and voids tokens: in the database, in this process at once, in all others within a second."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.database import after_commit
from authapi.enums import AuditAction, RevocationReason
from authapi.models import User
from authapi.repositories import revocations, user_sessions
from authapi.runtime import Runtime
from authapi.services import audit

# Clocks of hosts may differ, and every verifier allows some leeway.
MARGIN = timedelta(minutes=5)


async def revoke_user_sessions(
    db: AsyncSession,
    runtime: Runtime,
    *,
    user_id: UUID,
    reason: RevocationReason,
    only: UUID | None = None,
    sparing: UUID | None = None,
    actor_id: UUID | None = None,
) -> Sequence[UUID]:
    """End a user's sessions (all, `only` one, or all `sparing` one), with refresh and access tokens.

    Returns the ids of the sessions that this call ended; each is on record. By session and not by time: a
    login in the same second as a logout everywhere stays valid.
    """
    now = clock.utc_now()
    ended = await user_sessions.revoke(
        db,
        user_id=user_id,
        at=now,
        reason=reason,
        # A session that has just expired may have left an access token behind.
        expired_before=now - _token_lifetime(runtime),
        only=only,
        sparing=sparing,
    )
    expires_at = _last_expiry(runtime, now)
    await revocations.add_sessions(db, ended, expires_at=expires_at, created_at=now)
    for user_session_id in ended:
        await audit.record(
            db,
            AuditAction.SESSION_REVOKED,
            reason=reason,
            actor_id=actor_id,
            subject_id=user_id,
            user_session_id=user_session_id,
        )

    def remember() -> None:
        for user_session_id in ended:
            runtime.revocations.add_session(user_session_id, expires_at=expires_at)

    after_commit(db, remember)
    return ended


async def void_access_tokens(db: AsyncSession, runtime: Runtime, *, user: User) -> None:
    """Void the access tokens of a user whose rights have changed; the sessions live on and can refresh.

    The caller holds the lock on the user's row, which keeps logins away, and has changed the rights already.
    A refresh that has read the old rights has noted its instant in its session, by the clock of its host.
    """
    now = clock.utc_now()
    last_issue = await user_sessions.hold_live(db, user_id=user.id, now=now) or now
    # A token that was issued in the second of the void before this one says the next second.
    after_last_void = user.tokens_not_before + timedelta(seconds=1) if user.tokens_not_before else now
    user.tokens_not_before = max(now, last_issue, after_last_void)
    await db.flush()
    await void_subject(db, runtime, subject=str(user.id), not_before=user.tokens_not_before)


async def void_subject(db: AsyncSession, runtime: Runtime, *, subject: str, not_before: datetime) -> None:
    """Void the tokens of a user or service client that were issued up to the second of `not_before`."""
    now = clock.utc_now()
    expires_at = _last_expiry(runtime, not_before)
    await revocations.add_subject(db, subject, not_before=not_before, expires_at=expires_at, created_at=now)
    after_commit(
        db,
        lambda: runtime.revocations.add_subject(subject, not_before=not_before, expires_at=expires_at),
    )


def _last_expiry(runtime: Runtime, now: datetime) -> datetime:
    return now + _token_lifetime(runtime)


def _token_lifetime(runtime: Runtime) -> timedelta:
    return runtime.settings.access_token.lifetime + MARGIN
