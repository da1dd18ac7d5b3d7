"""Token introspection: what a token is worth at this moment (RFC 7662)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.models import ServiceClient, UserSession
from authapi.repositories import live_sessions, service_clients
from authapi.runtime import Runtime
from authapi.security.access_tokens import AccessTokenClaims
from authapi.security.opaque_tokens import InvalidOpaqueToken
from authapi.services.service_clients import may_handle


@dataclass(frozen=True, slots=True)
class ActiveRefreshToken:
    """The session that a current refresh token can prolong, and its user's address."""

    user_session: UserSession
    email: str


async def introspect(
    db: AsyncSession, runtime: Runtime, *, client: ServiceClient, token: str
) -> AccessTokenClaims | ActiveRefreshToken | None:
    """The claims of an active access token, the session of an active refresh token, or None.

    Any client may ask about any access token. Unlike the check at the door this one asks the database as
    well: a revocation counts from its commit on, not from when this process has heard of it. A refresh token
    is active for the clients that may handle it, and only in its current generation. Raises
    `RevocationsUnknown`.
    """
    try:
        parts = runtime.refresh_tokens.parse(token)
    except InvalidOpaqueToken:
        return await _find_access_token(db, runtime, token)
    session = await live_sessions.find(db, parts.session_id, now=clock.utc_now())
    if session is None or session.user_session.generation != parts.generation:
        return None
    if not may_handle(client, client_id=session.user_session.client_id):
        return None
    return ActiveRefreshToken(session.user_session, session.email)


async def _find_access_token(db: AsyncSession, runtime: Runtime, token: str) -> AccessTokenClaims | None:
    try:
        claims = runtime.tokens.verify(token).claims
    except errors.InvalidAccessToken:
        return None
    if claims.sid is None:
        client = await service_clients.find_by_client_id(db, claims.client_id)
        is_live = client is not None and client.revoked_at is None
        not_before = client.tokens_not_before if client else None
    else:
        session = await live_sessions.find(db, UUID(claims.sid), now=clock.utc_now())
        is_live = session is not None
        not_before = session.tokens_not_before if session else None
    return claims if is_live and not _is_void(claims, not_before) else None


def _is_void(claims: AccessTokenClaims, not_before: datetime | None) -> bool:
    return not_before is not None and claims.iat <= int(not_before.timestamp())
