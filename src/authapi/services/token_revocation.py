"""Token revocation: a client hands back a token that is not needed any more (RFC 7009)."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import AuditAction, RevocationReason
from authapi.models import ServiceClient
from authapi.repositories import service_clients, user_sessions
from authapi.runtime import Runtime
from authapi.security.access_tokens import AccessTokenClaims
from authapi.security.opaque_tokens import InvalidOpaqueToken
from authapi.services import audit, revocation
from authapi.services.service_clients import may_handle


async def revoke_token(db: AsyncSession, runtime: Runtime, *, client: ServiceClient, token: str) -> None:
    """End what a token speaks for: a user's session, or the client's own tokens up to this one.

    A refresh token of any generation and an access token both end the whole session (RFC 7009 section 2.1). A
    token that is unknown, expired or revoked already is fine. Raises `UnauthorizedClient` for a token that
    was issued to another client, `RevocationsUnknown`.
    """
    try:
        parts = runtime.refresh_tokens.parse(token)
    except InvalidOpaqueToken:
        await _revoke_access_token(db, runtime, client, token)
        return
    user_session = await user_sessions.find_by_id(db, parts.session_id)
    if user_session is not None:
        _ensure_may_handle(client, user_session.client_id)
        await _end_session(db, runtime, client, user_session.user_id, user_session.id)


async def _revoke_access_token(db: AsyncSession, runtime: Runtime, client: ServiceClient, token: str) -> None:
    try:
        verified = runtime.tokens.verify(token)
    except errors.InvalidAccessToken:
        return
    _ensure_may_handle(client, verified.claims.client_id)
    if verified.principal is None:
        await _void_own_tokens(db, runtime, verified.claims)
    else:
        principal = verified.principal
        await _end_session(db, runtime, client, principal.user_id, principal.user_session_id)


async def _end_session(
    db: AsyncSession, runtime: Runtime, client: ServiceClient, user_id: UUID, user_session_id: UUID
) -> None:
    ended = await revocation.revoke_user_sessions(
        db, runtime, user_id=user_id, only=user_session_id, reason=RevocationReason.TOKEN_REVOKED
    )
    if ended:
        await audit.record(
            db,
            AuditAction.TOKEN_REVOKED,
            subject_id=user_id,
            user_session_id=user_session_id,
            details={"client_id": client.client_id},
        )


async def _void_own_tokens(db: AsyncSession, runtime: Runtime, claims: AccessTokenClaims) -> None:
    # Revocations go by instants, not by single tokens: older ones of the same client end with it, and the
    # client gets a new one with its secret.
    client = await service_clients.find_for_update(db, claims.client_id)
    issued_at = datetime.fromtimestamp(claims.iat, tz=UTC)
    if client is None or (client.tokens_not_before is not None and client.tokens_not_before >= issued_at):
        return
    client.tokens_not_before = issued_at
    await revocation.void_subject(db, runtime, subject=client.client_id, not_before=issued_at)
    await audit.record(db, AuditAction.TOKEN_REVOKED, details={"client_id": client.client_id})


def _ensure_may_handle(client: ServiceClient, client_id: str) -> None:
    if not may_handle(client, client_id=client_id):
        raise errors.UnauthorizedClient
