"""Answers where authapi would, as badly as a test wants; its tokens are genuine."""

import asyncio
import json
import secrets
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from authapi import clock
from authapi.security.access_tokens import AccessTokenClaims, encode_access_token
from authapi.security.signing_keys import Algorithm, SigningKey, generate_signing_key, jwks
from authapi.verify.feed import FEED_PATH
from authapi.verify.keys import JWKS_PATH

ISSUER = "https://auth.example.com"
AUDIENCE = "orders"


class TroubledAuthapi:
    """An ASGI app; the attributes say what it answers and `requests` counts what was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.key = generate_signing_key(Algorithm.ES256)
        self.published: list[Any] = jwks([self.key])["keys"]
        self.cache_control = "max-age=300"
        self.revocations: list[dict[str, str]] = []
        self.cursor = "one"
        self.status: dict[str, int] = {}
        self.body: dict[str, bytes] = {}
        self.headers: dict[str, list[tuple[bytes, bytes]]] = {}
        self.delay = 0.0
        self.requests: Counter[str] = Counter()
        self.queries: list[str] = []
        self.authorization: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        path = scope["path"]
        self.requests[path] += 1
        headers = dict(scope["headers"])
        if path == FEED_PATH:
            self.queries.append(scope["query_string"].decode())
            self.authorization.add(headers.get(b"authorization", b"").decode())
        else:
            assert b"authorization" not in headers
        await asyncio.sleep(self.delay)
        start = {
            "type": "http.response.start",
            "status": self.status.get(path, 200),
            "headers": [(b"cache-control", self.cache_control.encode()), *self.headers.get(path, [])],
        }
        await send(start)
        await send({"type": "http.response.body", "body": self.body.get(path) or self._body(path)})

    def _body(self, path: str) -> bytes:
        if path == JWKS_PATH:
            return json.dumps({"keys": self.published}).encode()
        data = {"revocations": self.revocations, "cursor": self.cursor}
        return json.dumps({"success": True, "message": "", "data": data}).encode()

    def revoke_session(self, session_id: UUID) -> None:
        self.revocations = [{"session_id": str(session_id), "expires_at": _in_an_hour()}]

    def revoke_subject(self, subject: str, not_before: str) -> None:
        self.revocations = [{"subject": subject, "not_before": not_before, "expires_at": _in_an_hour()}]

    def token(self, *, key: SigningKey | None = None, scope: str = "", **changed: Any) -> str:
        """A user's token, by default signed with the published key."""
        now = int(clock.utc_now().timestamp())
        user_id = str(uuid4())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "user_id": user_id,
            "client_id": "authapi",
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(8),
            "scope": scope,
            "sid": str(uuid4()),
            "email": "ada@example.com",
            "amr": ("pwd",),
            "auth_time": now,
        }
        return encode_access_token(AccessTokenClaims(**claims | changed), key=key or self.key)


def _in_an_hour() -> str:
    return (clock.utc_now() + timedelta(hours=1)).isoformat()
