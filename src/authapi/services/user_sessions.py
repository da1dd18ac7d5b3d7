"""Opens sessions: what a login on a device leads to."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, request_context
from authapi.models import User, UserSession
from authapi.repositories import user_sessions
from authapi.runtime import Runtime
from authapi.token_authority import FIRST_PARTY_CLIENT_ID


@dataclass(frozen=True, slots=True)
class SessionTokens:
    """A user's session and the tokens that speak for it; `expires_in` in seconds."""

    user: User
    user_session: UserSession
    access_token: str
    expires_in: int
    scope: str


async def open_session(
    db: AsyncSession, runtime: Runtime, *, user: User, amr: Sequence[str], scope: str | None = None
) -> SessionTokens:
    """Start a session for a user who has just proved who he is with the factors in `amr` (RFC 8176).

    `scope` narrows the tokens of the session to some of the user's permissions; None means all of them.
    """
    now = clock.utc_now()
    context = request_context.current()
    lifetime = runtime.settings.access_token.lifetime
    user_session = UserSession(
        user_id=user.id,
        rotated_at=now,
        last_used_at=now,
        auth_time=now,
        expires_at=now + lifetime,
        idle_expires_at=now + lifetime,
        amr=list(amr),
        scope=scope,
        client_id=FIRST_PARTY_CLIENT_ID,
        ip=context.ip,
        user_agent=context.user_agent,
    )
    await user_sessions.add(db, user_session)
    return issue_tokens(runtime, user=user, user_session=user_session)


def issue_tokens(runtime: Runtime, *, user: User, user_session: UserSession) -> SessionTokens:
    """Sign an access token with what the user may do now, within the scope of the session."""
    scope = " ".join(granted_scopes(user, requested=user_session.scope))
    issued = runtime.tokens.issue_for_user(
        user_id=user.id,
        email=user.email,
        roles=user.role_names,
        scope=scope,
        user_session_id=user_session.id,
        amr=user_session.amr,
        auth_time=user_session.auth_time,
    )
    return SessionTokens(user, user_session, issued.token, issued.expires_in, scope)


def granted_scopes(user: User, *, requested: str | None) -> list[str]:
    """The user's permissions, or those of them that were asked for: a token never holds more."""
    permissions = user.permission_names
    if requested is None:
        return list(permissions)
    wanted = set(requested.split())
    return [permission for permission in permissions if permission in wanted]
