"""Token refresh: a refresh token becomes a new pair, once, and a reused one ends its session."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors, request_context
from authapi.enums import AuditAction, MailKind, Outcome, RevocationReason
from authapi.models import User, UserSession
from authapi.repositories import user_sessions, users
from authapi.repositories.user_sessions import Rotation
from authapi.runtime import Runtime
from authapi.security.opaque_tokens import InvalidOpaqueToken, RefreshTokenParts
from authapi.services import audit, notifications, revocation
from authapi.services.outcomes import reports_refusal
from authapi.services.refresh_batches import rotate_together
from authapi.services.user_sessions import SessionTokens, issue_tokens
from authapi.token_authority import FIRST_PARTY_CLIENT_ID

# A host's clock may be behind that of the host that rotated.
CLOCK_SKEW = timedelta(seconds=30)


@reports_refusal
async def refresh(
    runtime: Runtime,
    *,
    refresh_token: str,
    client_id: str = FIRST_PARTY_CLIENT_ID,
    scopes: Collection[str] | None = None,
) -> SessionTokens:
    """Exchange a refresh token for the session's next pair (RFC 6749 section 6, RFC 9700 section 4.14.2).

    The token of the current generation rotates. The one before it, within the grace, gets the current pair:
    two tabs, or a client that lost the reply. Any older one ends the session, whoever sends it. Rights are
    read anew; `scopes` asks for some of them only. Uses transactions of its own: the caller must hold none, or
    requests that each hold a connection and wait for another one could exhaust the pool. Raises
    `InvalidRefreshToken`, also for a client that the session does not belong to, `RefreshTokenReused`,
    `InvalidScope`.
    """
    rotation = _rotation(runtime, refresh_token, client_id)
    # A batch is committed before the token is signed. Without a signing key the client would get an error although
    # its token was rotated, retry with the old one, and after the grace look like a thief.
    runtime.tokens.ensure_signing()
    # Not in a batch if scopes are asked for: refusing them must roll this one rotation back.
    if scopes is None and (rotated := await rotate_together(runtime, rotation)) is not None:
        runtime.observer.refresh("rotated")
        return issue_tokens(runtime, user=rotated.owner, user_session=rotated.user_session)
    async with runtime.database.unit_of_work(bounded=True) as db:
        return await _refresh_alone(db, runtime, rotation, scopes)


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


async def _refresh_alone(
    db: AsyncSession, runtime: Runtime, rotation: Rotation, scopes: Collection[str] | None
) -> SessionTokens:
    now = clock.utc_now()
    rotated = await user_sessions.rotate(
        db, rotation, now=now, idle_expires_at=now + runtime.settings.refresh_token.idle_lifetime
    )
    user_session = rotated or await _converge(db, runtime, rotation)
    # What is refused from here on rolls the rotation back.
    if user_session.client_id != rotation.client_id:
        raise errors.InvalidRefreshToken("issued_to_another_client")
    _ensure_within(user_session, scopes)
    # Read after the session's row, whose instant the token will say. A change of rights that comes after this
    # read voids tokens of that instant; one that came before has been read.
    user = await users.find_by_id(db, user_session.user_id)
    if user is None or not user.is_active:
        raise errors.InvalidRefreshToken("account_gone_or_disabled")
    runtime.observer.refresh("rotated" if rotated else "converged")
    return issue_tokens(runtime, user=user, user_session=user_session, narrowed_to=scopes)


async def _converge(db: AsyncSession, runtime: Runtime, rotation: Rotation) -> UserSession:
    """Judge a token that did not rotate; returns the session if its owner gets the current pair."""
    now = clock.utc_now()
    user_session = await user_sessions.find_by_id(db, rotation.user_session_id)
    if user_session is None:
        raise errors.InvalidRefreshToken("no_such_session")
    if (
        user_session.revoked_at is not None
        or min(user_session.expires_at, user_session.idle_expires_at) <= now
    ):
        raise errors.InvalidRefreshToken("session_ended")
    if rotation.generation >= user_session.generation:
        raise errors.InvalidRefreshToken("never_issued")
    since_rotation = now - user_session.rotated_at
    grace = runtime.settings.refresh_token.grace
    if rotation.generation == user_session.generation - 1 and -CLOCK_SKEW <= since_rotation <= grace:
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
        details={"generation": rotation.generation, "current": user_session.generation},
    )
    owner = await users.find_by_id(db, user_session.user_id)
    if owner is not None:
        await notifications.notify(db, runtime, user=owner, kind=MailKind.SESSION_REUSED)
    raise errors.RefreshTokenReused


def _ensure_within(user_session: UserSession, scopes: Collection[str] | None) -> None:
    # Against what was asked for at login, not what was granted: a client may repeat its request, and what
    # the user may not do is left out again.
    if scopes is not None and user_session.scope is not None:
        if not set(scopes) <= set(user_session.scope.split()):
            raise errors.InvalidScope("more than the session was opened for")


def _rotation(runtime: Runtime, refresh_token: str, client_id: str) -> Rotation:
    parts = _parse(runtime, refresh_token)
    return Rotation(
        user_session_id=parts.session_id,
        generation=parts.generation,
        client_id=client_id,
        ip=request_context.current().ip,
    )


def _parse(runtime: Runtime, refresh_token: str) -> RefreshTokenParts:
    try:
        return runtime.refresh_tokens.parse(refresh_token)
    except InvalidOpaqueToken:
        raise errors.InvalidRefreshToken("malformed") from None
