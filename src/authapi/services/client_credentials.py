"""The client credentials grant: a service gets a token in its own name (RFC 6749 section 4.4)."""

from collections.abc import Collection
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.models import ServiceClient
from authapi.repositories import permissions
from authapi.runtime import Runtime

logger = structlog.stdlib.get_logger("authapi.clients")


@dataclass(frozen=True, slots=True)
class ClientToken:
    """A service client's own access token; `expires_in` in seconds."""

    access_token: str
    expires_in: int
    scope: str


async def issue_client_token(
    db: AsyncSession, runtime: Runtime, *, client: ServiceClient, scopes: Collection[str] | None
) -> ClientToken:
    """Issue a token for an authenticated client; None asks for all of its scopes.

    There is no refresh token: the secret gets the next one (RFC 6749 section 4.4.3). A scope whose permission
    was deleted is not granted any more. Raises `InvalidScope` for a scope that the client does not have.
    """
    if scopes is not None and not set(scopes) <= set(client.scopes):
        raise errors.InvalidScope("more than the client has")
    existing = [permission.name for permission in await permissions.find_by_names(db, client.scopes)]
    scope = " ".join(name for name in existing if scopes is None or name in scopes)
    issued = runtime.tokens.issue_for_client(
        client_id=client.client_id,
        scope=scope,
        issued_at=clock.utc_now(),
        not_before=client.tokens_not_before,
    )
    # Not in the audit trail: a busy service asks every few minutes, and this would bury the rest.
    logger.info("service_client.token.issued", client_id=client.client_id, scope=scope)
    return ClientToken(issued.token, issued.expires_in, scope)
