"""Service clients: services with an id and a secret of their own (confidential clients of RFC 6749)."""

import hmac
import re
from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import AuditAction, Outcome, RevocationReason
from authapi.models import ServiceClient
from authapi.repositories import permissions, service_clients
from authapi.runtime import Runtime
from authapi.scopes import parse_scope
from authapi.security import opaque_tokens
from authapi.services import audit, revocation
from authapi.services.role_assignment import MAX_CLAIM_BYTES
from authapi.token_authority import FIRST_PARTY_CLIENT_ID

SECRET_PREFIX = "authapi_cs_"
# Users' subjects are UUIDs and authapi's own logins say "authapi": no subject is also another's client id
# (RFC 9700 section 4.15).
_CLIENT_ID = re.compile(r"svc_[0-9a-f]{32}")
# What the secret of an unknown client is compared with; no text is known that has this digest.
_NO_SECRET = bytes(32)


async def create_client(db: AsyncSession, *, name: str, scopes: Sequence[str]) -> tuple[ServiceClient, str]:
    """Make a client that may ask for these scopes; returns it with its secret, which nobody can read again.

    A scope is the name of a permission. Raises `InvalidScope` saying what is wrong with them.
    """
    for scope in scopes:
        if parse_scope(scope) != (scope,):
            raise errors.InvalidScope(f"{scope!r} is no scope")
    wanted = sorted(set(scopes))
    known = {permission.name for permission in await permissions.find_by_names(db, wanted)}
    unknown = [scope for scope in wanted if scope not in known]
    if unknown:
        raise errors.InvalidScope(f"there is no permission called {', '.join(unknown)}")
    if sum(len(scope) + 1 for scope in wanted) > MAX_CLAIM_BYTES:
        raise errors.InvalidScope("these scopes are more than an access token can carry")
    secret, secret_hash = opaque_tokens.generate(SECRET_PREFIX)
    client = ServiceClient(
        client_id=f"svc_{uuid4().hex}", name=name, secret_hash=secret_hash, scopes=wanted, revoked_at=None
    )
    await service_clients.add(db, client)
    await audit.record(
        db,
        AuditAction.CLIENT_CREATED,
        details={"client_id": client.client_id, "scopes": wanted, "origin": "command_line"},
    )
    return client, secret


async def list_clients(db: AsyncSession) -> list[ServiceClient]:
    """Every client, revoked ones too, the oldest first."""
    return await service_clients.list_all(db)


async def revoke_client(db: AsyncSession, runtime: Runtime, *, client_id: str) -> ServiceClient:
    """Refuse a client for ever, with its tokens and with the users' sessions that were opened through it.

    Revoking a revoked one is fine. Raises `ClientNotFound`.
    """
    client = await service_clients.find_for_update(db, client_id)
    if client is None:
        raise errors.ClientNotFound
    if client.revoked_at is not None:
        return client
    now = clock.utc_now()
    client.revoked_at = now
    # Some minutes ahead: a host whose clock is fast, or that has just authenticated the client, may still
    # sign a token with an instant to come. The client never comes back, so nothing good is voided.
    client.tokens_not_before = now + clock.SKEW_MARGIN
    await revocation.void_subject(db, runtime, subject=client.client_id, not_before=client.tokens_not_before)
    lately = now - runtime.settings.access_token.lifetime - clock.SKEW_MARGIN
    sessions = await service_clients.list_sessions(db, client.client_id, expired_before=lately)
    for user_id, user_session_id in sessions:
        await revocation.revoke_user_sessions(
            db, runtime, user_id=user_id, only=user_session_id, reason=RevocationReason.CLIENT_REVOKED
        )
    await audit.record(
        db,
        AuditAction.CLIENT_REVOKED,
        details={"client_id": client.client_id, "ended_sessions": len(sessions), "origin": "command_line"},
    )
    return client


async def authenticate(db: AsyncSession, *, client_id: str, client_secret: str) -> ServiceClient:
    """The client whose secret this is.

    An unknown client costs the same as a wrong secret. Raises `InvalidClient`, with the failure on record.
    """
    presented = opaque_tokens.digest(client_secret)
    is_id = _CLIENT_ID.fullmatch(client_id) is not None
    client = await service_clients.find_by_client_id(db, client_id) if is_id else None
    is_right = hmac.compare_digest(presented, client.secret_hash if client else _NO_SECRET)
    if client is None or not is_right:
        reason = "unknown_client" if client is None else "wrong_secret"
    elif client.revoked_at is not None:
        reason = "client_revoked"
    else:
        return client
    await audit.record(
        db,
        AuditAction.CLIENT_AUTHENTICATION_FAILED,
        outcome=Outcome.FAILURE,
        reason=reason,
        # What is no id may be anything, a secret in the wrong field included.
        details={"client_id": client_id} if is_id else {},
    )
    raise errors.InvalidClient(reason)


def may_handle(client: ServiceClient, *, client_id: str) -> bool:
    """Whether a client may revoke, or ask about the refresh token of, a session of the client `client_id`.

    Its own sessions, and those of logins at authapi itself: their tokens need no client authentication, so any
    holder could refresh or end such a session anyway.
    """
    return client_id in {client.client_id, FIRST_PARTY_CLIENT_ID}
