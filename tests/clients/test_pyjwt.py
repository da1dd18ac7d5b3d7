"""PyJWT, as a service would use it: keys from the JWKS URL, one `decode`."""

import asyncio
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.served_authapi import served_authapi


class TestPyJwt:
    @pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
    async def test_decode(self, tmp_path: Path, algorithm: str) -> None:
        async with served_authapi(tmp_path, access_token={"algorithm": algorithm}) as authapi:
            token = (await authapi.register())["access_token"]
            client = jwt.PyJWKClient(f"{authapi.url}/.well-known/jwks.json", timeout=5)
            key = await asyncio.to_thread(client.get_signing_key_from_jwt, token)
        expected: dict[str, Any] = {
            "algorithms": [algorithm],
            "audience": "authapi",
            "issuer": authapi.issuer,
        }
        required = ["iss", "aud", "sub", "client_id", "iat", "exp", "jti"]
        claims = jwt.decode(token, key, options={"require": required}, **expected)
        assert claims["email"] == "ada@example.com"
        assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
        head, body, signature = token.split(".")
        forged = f"{head}.{body}.{signature[::-1]}"
        with pytest.raises(jwt.InvalidTokenError):
            jwt.decode(forged, key, **expected)
        with pytest.raises(jwt.InvalidAudienceError):
            jwt.decode(token, key, **expected | {"audience": "billing"})
