"""Ends sessions and voids tokens: in the database, in this process at once, in all others within a second."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.database import after_commit
from authapi.enums import AuditAction, RevocationReason
from authapi.models import User
from authapi.repositories import one_time_tokens, revocations, role_holders, user_sessions
from authapi.runtime import Runtime
from authapi.services import audit
from authapi.services.one_time_tokens import BEGUN_IN_SESSIONS


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

    With all of them, or all but one, ends what was begun in them: a change of e-mail, half a login. Returns the
    ids of the sessions that this call ended; each is on record. By session and not by time: a login in the same
    second as a logout everywhere stays valid.
    """
    now = clock.utc_now()
    if only is None:
        # Tokens before sessions, as confirming a change of e-mail locks them too: otherwise both could deadlock.
        await one_time_tokens.void_all(db, user_id=user_id, now=now, purposes=BEGUN_IN_SESSIONS)
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
    last_issue = await user_sessions.hold_live(db, user_id=user.id, now=now)
    user.tokens_not_before = _not_before(now, last_issue=last_issue, last_void=user.tokens_not_before)
    await db.flush()
    await void_subject(db, runtime, subject=str(user.id), not_before=user.tokens_not_before)


async def hold_holders(db: AsyncSession, *, role_id: UUID) -> None:
    """Make logins of a role's holders wait until the transaction ends.

    Call this before `roles.hold_rights`, or two transactions can deadlock.
    """
    for part in await role_holders.split(db, role_id):
        await role_holders.hold(db, part)


async def void_access_tokens_of_holders(db: AsyncSession, runtime: Runtime, *, role_id: UUID) -> None:
    """Void the access tokens of all holders of a role that lost rights; their sessions live on.

    A handful of statements for ten thousand holders; those whose tokens have all expired are skipped. The caller
    has called `hold_holders` and `roles.hold_rights`, and has changed the role already.
    """
    now = clock.utc_now()
    issues: list[datetime | None] = []
    voids: list[datetime | None] = []
    parts = await role_holders.split(db, role_id)
    for part in parts:
        # Lock again: someone may have been assigned the role before `hold_rights`.
        await role_holders.hold(db, part)
        issues.append(await role_holders.hold_live_sessions(db, part, now=now))
        voids.append(await role_holders.last_void(db, part))
    not_before = _not_before(now, last_issue=_latest(issues), last_void=_latest(voids))
    expires_at = _last_expiry(runtime, not_before)
    subjects: list[str] = []
    for part in parts:
        used_since = now - _token_lifetime(runtime)
        user_ids = await role_holders.void_tokens(db, part, not_before=not_before, used_since=used_since)
        voided = [str(user_id) for user_id in user_ids]
        await revocations.add_subjects(
            db, voided, not_before=not_before, expires_at=expires_at, created_at=now
        )
        subjects += voided

    def remember() -> None:
        for subject in subjects:
            runtime.revocations.add_subject(subject, not_before=not_before, expires_at=expires_at)

    after_commit(db, remember)


async def void_subject(db: AsyncSession, runtime: Runtime, *, subject: str, not_before: datetime) -> None:
    """Void the tokens of a user or service client that were issued up to the second of `not_before`."""
    now = clock.utc_now()
    expires_at = _last_expiry(runtime, not_before)
    await revocations.add_subject(db, subject, not_before=not_before, expires_at=expires_at, created_at=now)
    after_commit(
        db,
        lambda: runtime.revocations.add_subject(subject, not_before=not_before, expires_at=expires_at),
    )


def _not_before(now: datetime, *, last_issue: datetime | None, last_void: datetime | None) -> datetime:
    # A token that was issued in the second of the void before this one says the next second.
    after_last_void = last_void + timedelta(seconds=1) if last_void else now
    return max(now, last_issue or now, after_last_void)


def _latest(instants: Sequence[datetime | None]) -> datetime | None:
    return max((instant for instant in instants if instant is not None), default=None)


def _last_expiry(runtime: Runtime, now: datetime) -> datetime:
    return now + _token_lifetime(runtime)


def _token_lifetime(runtime: Runtime) -> timedelta:
    return runtime.settings.access_token.lifetime + clock.SKEW_MARGIN
