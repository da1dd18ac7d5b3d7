"""Signs whatever it is given, with a trusted key and without the encoder under test."""

import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any

from authapi.security.signing_keys import SigningKey


class Forge:
    """Signs any bytes as header and payload with a trusted key."""

    def __init__(self, valid_claims: Mapping[str, Any], key: SigningKey) -> None:
        self.key = key
        self.header = {"alg": key.algorithm.value, "kid": key.kid, "typ": "at+jwt"}
        self.claims = {name: json.dumps(value) for name, value in valid_claims.items()}

    def sign(self, header: bytes, payload: bytes, key: SigningKey | None = None) -> str:
        signing_input = f"{encode(header)}.{encode(payload)}"
        return f"{signing_input}.{encode((key or self.key).jose_key.sign(signing_input.encode()))}"

    def good(self) -> str:
        return self.with_claims()

    def with_header(self, **changed: Any) -> str:
        """The good token with header members replaced, or left out where the value is `...`."""
        header = {name: value for name, value in {**self.header, **changed}.items() if value is not ...}
        return self.sign(json.dumps(header).encode(), self.payload())

    def with_raw_header(self, header: str) -> str:
        return self.sign(header.encode(), self.payload())

    def with_claims(self, **changed: Any) -> str:
        """The good token with claims given as JSON text, or left out where the value is `...`."""
        return self.sign(json.dumps(self.header).encode(), self.payload(**changed))

    def with_payload(self, payload: bytes) -> str:
        return self.sign(json.dumps(self.header).encode(), payload)

    def payload(self, **changed: Any) -> bytes:
        claims = {name: value for name, value in {**self.claims, **changed}.items() if value is not ...}
        return ("{" + ",".join(f'"{name}":{value}' for name, value in claims.items()) + "}").encode()


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hs256(header: bytes, payload: bytes, secret: bytes) -> str:
    signing_input = f"{encode(header)}.{encode(payload)}"
    return f"{signing_input}.{encode(hmac.digest(secret, signing_input.encode(), 'sha256'))}"
