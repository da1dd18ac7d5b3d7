"""Token refresh: a refresh token becomes a new pair, once, and a reused one ends its session."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors, request_context
from authapi.enums import AuditAction, Outcome, RevocationReason
from authapi.models import User, UserSession
from authapi.repositories import user_sessions, users
from authapi.runtime import Runtime
from authapi.security.opaque_tokens import InvalidOpaqueToken, RefreshTokenParts
from authapi.services import audit, revocation
from authapi.services.user_sessions import SessionTokens, issue_tokens

# A host's clock may be behind that of the host that rotated.
CLOCK_SKEW = timedelta(seconds=30)


async def refresh(db: AsyncSession, runtime: Runtime, *, refresh_token: str) -> SessionTokens:
    """Exchange a refresh token for the session's next pair (RFC 6749 section 6, RFC 9700 section 4.14.2).

    The token of the current generation rotates. The one before it, within the grace, gets the current pair:
    two tabs, or a client that lost the reply. Any older one ends the session. Rights are read anew. Raises
    `InvalidRefreshToken`, `RefreshTokenReused`.
    """
    parts = _parse(runtime, refresh_token)
    now = clock.utc_now()
    rotated = await user_sessions.rotate(
        db,
        parts.session_id,
        generation=parts.generation,
        now=now,
        idle_expires_at=now + runtime.settings.refresh_token.idle_lifetime,
        ip=request_context.current().ip,
    )
    user_session = rotated or await _converge(db, runtime, parts)
    # Read after the session's row is held: a change of rights waits for this, or this has waited for it.
    user = await users.find_by_id(db, user_session.user_id)
    if user is None or not user.is_active:
        raise errors.InvalidRefreshToken("account_gone_or_disabled")
    return issue_tokens(runtime, user=user, user_session=user_session)


async def find_session_owner(
    db: AsyncSession, runtime: Runtime, *, refresh_token: str
) -> tuple[User, UserSession]:
    """The session a refresh token belongs to, for logging out; its generation does not matter.

    Raises `InvalidRefreshToken`.
    """
    parts = _parse(runtime, refresh_token)
    user_session = await user_sessions.find_by_id(db, parts.session_id)
    if user_session is None:
        raise errors.InvalidRefreshToken("no_such_session")
    user = await users.find_by_id(db, user_session.user_id)
    if user is None:
        raise errors.InvalidRefreshToken("account_gone")
    return user, user_session


async def _converge(db: AsyncSession, runtime: Runtime, parts: RefreshTokenParts) -> UserSession:
    """Judge a token that did not rotate; returns the session if its owner gets the current pair."""
    now = clock.utc_now()
    user_session = await user_sessions.find_by_id(db, parts.session_id)
    if user_session is None:
        raise errors.InvalidRefreshToken("no_such_session")
    if (
        user_session.revoked_at is not None
        or min(user_session.expires_at, user_session.idle_expires_at) <= now
    ):
        raise errors.InvalidRefreshToken("session_ended")
    if parts.generation >= user_session.generation:
        raise errors.InvalidRefreshToken("never_issued")
    since_rotation = now - user_session.rotated_at
    grace = runtime.settings.refresh_token.grace
    if parts.generation == user_session.generation - 1 and -CLOCK_SKEW <= since_rotation <= grace:
        return user_session
    await revocation.revoke_user_sessions(
        db,
        runtime,
        user_id=user_session.user_id,
        only=user_session.id,
        reason=RevocationReason.REFRESH_TOKEN_REUSED,
    )
    await audit.record(
        db,
        AuditAction.SESSION_REFRESH_REUSE_DETECTED,
        outcome=Outcome.FAILURE,
        reason="older_generation",
        subject_id=user_session.user_id,
        user_session_id=user_session.id,
        details={"generation": parts.generation, "current": user_session.generation},
    )
    raise errors.RefreshTokenReused


def _parse(runtime: Runtime, refresh_token: str) -> RefreshTokenParts:
    try:
        return runtime.refresh_tokens.parse(refresh_token)
    except InvalidOpaqueToken:
        raise errors.InvalidRefreshToken("malformed") from None
