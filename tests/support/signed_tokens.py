"""Genuine tokens with the claims that a test wants, signed with the application's own key."""

import secrets
from typing import Any
from uuid import UUID, uuid4

from authapi import clock
from authapi.runtime import Runtime
from authapi.security.access_tokens import AccessTokenClaims, encode_access_token
from authapi.token_authority import FIRST_PARTY_CLIENT_ID


def bearer(token: str) -> dict[str, str]:
    """The header that presents a token."""
    return {"Authorization": f"Bearer {token}"}


def users_token(runtime: Runtime, *, user_id: UUID | None = None, **changed: Any) -> str:
    """The token of a user without roles and scopes, valid for a minute; `changed` replaces claims."""
    subject = str(user_id or uuid4())
    claims: dict[str, Any] = {
        "sub": subject,
        "client_id": FIRST_PARTY_CLIENT_ID,
        "sid": str(uuid4()),
        "user_id": subject,
        "email": "ada@example.com",
        "amr": ("pwd",),
        "auth_time": int(clock.utc_now().timestamp()),
    }
    return _sign(runtime, claims | changed)


def clients_token(runtime: Runtime, *, client_id: str = "client-7", **changed: Any) -> str:
    """The token of a service client, valid for a minute; `changed` replaces claims."""
    return _sign(runtime, {"sub": client_id, "client_id": client_id} | changed)


def _sign(runtime: Runtime, claims: dict[str, Any]) -> str:
    now = int(clock.utc_now().timestamp())
    shared: dict[str, Any] = {
        "iss": runtime.tokens.issuer,
        "aud": runtime.tokens.audience,
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_urlsafe(8),
        "scope": "",
    }
    return encode_access_token(AccessTokenClaims(**shared | claims), key=runtime.tokens.keys[0].key)
