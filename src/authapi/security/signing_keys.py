"""The keys that sign access tokens: made, read, named, published (RFC 7517, RFC 7638; ASVS 11.2.1, 11.6.1).

Each key has exactly one algorithm (RFC 8725 section 3.1). The objects that python-jose works with are built
once and kept with the key, on the backend of pyca/cryptography by name: python-jose would otherwise choose
what it finds.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jose import jwk
from jose.backends.base import Key
from jose.backends.cryptography_backend import CryptographyECKey, CryptographyHMACKey, CryptographyRSAKey

from authapi.security import base64url

RSA_BITS = 3072
RSA_EXPONENT = 65537
MIN_SHARED_SECRET_BYTES = 32

# RFC 7638 section 3.2: the members that make the thumbprint, in this order
_THUMBPRINT_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Algorithm(StrEnum):
    """The JWS algorithms an installation can choose from (RFC 7518 section 3.1)."""

    ES256 = "ES256"
    RS256 = "RS256"
    HS256 = "HS256"


class UnusableKey(ValueError):
    """Key material that cannot be read or does not fit the algorithm; the message never holds it."""


class WeakKey(UnusableKey):
    """Less than 128 bits of strength: RSA below 3072 bits, a shared secret below 32 bytes (ASVS 11.2.3)."""


class UnsafeCryptoBackend(RuntimeError):
    """python-jose would sign with python-ecdsa or python-rsa, which leak keys by timing (CVE-2024-23342)."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """What checks a signature: for ES256 and RS256 the public half only."""

    kid: str
    algorithm: Algorithm
    jose_key: Key = field(repr=False, compare=False)

    @classmethod
    def from_public_jwk(cls, public_jwk: Mapping[str, str]) -> "VerifyingKey":
        """The key of a JWK as `public_jwk` gives it, so that a retired key needs no private half.

        Raises UnusableKey, or WeakKey for a short RSA key. The kid is computed, never taken from the JWK.
        """
        try:
            algorithm = Algorithm(public_jwk["alg"])
            public_members = {name: public_jwk[name] for name in _THUMBPRINT_MEMBERS[public_jwk["kty"]]}
            public_key = _jose_key(public_members, algorithm).prepared_key
        except Exception:
            raise UnusableKey("not a public JWK for ES256 or RS256") from None
        return _verifying_key(public_key, algorithm)

    def public_jwk(self) -> dict[str, str]:
        """The JWK to publish (RFC 7517 section 4); raises UnusableKey for HS256, which has no public half."""
        if self.algorithm is Algorithm.HS256:
            raise UnusableKey("a shared secret is never published")
        return {**_public_members(self.jose_key), "alg": self.algorithm.value, "use": "sig", "kid": self.kid}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key or shared secret with its single algorithm. Neither repr nor str shows the material."""

    kid: str
    algorithm: Algorithm
    verifying_key: VerifyingKey = field(repr=False)
    jose_key: Key = field(repr=False, compare=False)
    _private_key: PrivateKey | None = field(repr=False, compare=False)

    @classmethod
    def from_private_pem(cls, pem: bytes, algorithm: Algorithm) -> "SigningKey":
        """The key of an unencrypted PEM; raises UnusableKey, or WeakKey for a short RSA key."""
        try:
            private_key = load_pem_private_key(pem, password=None)
        except Exception:
            raise UnusableKey("not an unencrypted private key in PEM") from None
        if not isinstance(private_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise UnusableKey("neither an EC nor an RSA private key")
        return _signing_key(private_key, algorithm)

    @classmethod
    def from_shared_secret(cls, secret: bytes) -> "SigningKey":
        """The HS256 key of `secret`; raises WeakKey below 32 bytes, UnusableKey for a PEM or SSH key."""
        if len(secret) < MIN_SHARED_SECRET_BYTES:
            raise WeakKey(f"an HS256 secret needs at least {MIN_SHARED_SECRET_BYTES} bytes")
        try:
            jose_key = CryptographyHMACKey(secret, Algorithm.HS256.value)
        except Exception:
            # a public key as HMAC secret is known to everybody (CVE-2024-33663)
            raise UnusableKey("an asymmetric key is no shared secret") from None
        # a keyed digest: a plain hash in the header of every token would make guessing a poor secret cheaper
        kid = base64url.encode(hmac.digest(secret, b"authapi HS256 key id", "sha256")[:16])
        verifying_key = VerifyingKey(kid, Algorithm.HS256, jose_key)
        return cls(kid, Algorithm.HS256, verifying_key, jose_key, None)

    def private_pem(self) -> bytes:
        """The private key as unencrypted PKCS #8 PEM, to be sealed at once; raises UnusableKey for HS256."""
        if self._private_key is None:
            raise UnusableKey("a shared secret has no PEM")
        return self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def public_jwk(self) -> dict[str, str]:
        """As `VerifyingKey.public_jwk`."""
        return self.verifying_key.public_jwk()


def generate_signing_key(algorithm: Algorithm) -> SigningKey:
    """A new key: P-256 for ES256, 3072 bits and e = 65537 for RS256, 32 random bytes for HS256."""
    if algorithm is Algorithm.ES256:
        return _signing_key(ec.generate_private_key(ec.SECP256R1()), algorithm)
    if algorithm is Algorithm.RS256:
        return _signing_key(rsa.generate_private_key(RSA_EXPONENT, RSA_BITS), algorithm)
    return SigningKey.from_shared_secret(secrets.token_bytes(MIN_SHARED_SECRET_BYTES))


def jwks(keys: Iterable[VerifyingKey | SigningKey]) -> dict[str, list[dict[str, str]]]:
    """The JWK Set of the public keys among `keys` (RFC 7517 section 5); HS256 keys are left out."""
    return {"keys": [key.public_jwk() for key in keys if key.algorithm is not Algorithm.HS256]}


def thumbprint(public_jwk: Mapping[str, str]) -> str:
    """The RFC 7638 SHA-256 thumbprint of an EC or RSA public key, in base64url."""
    members = {name: public_jwk[name] for name in _THUMBPRINT_MEMBERS[public_jwk["kty"]]}
    return base64url.encode(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def assert_cryptography_backend() -> None:
    """Raise UnsafeCryptoBackend unless python-jose takes pyca/cryptography for ES256 and RS256 (ASVS 11.2.1).

    python-ecdsa and python-rsa are installed with python-jose in any case; what counts is that nothing uses
    them.
    """
    expected = {Algorithm.ES256: CryptographyECKey, Algorithm.RS256: CryptographyRSAKey}
    for algorithm, jose_class in expected.items():
        if jwk.get_key(algorithm.value) is not jose_class:
            raise UnsafeCryptoBackend(f"python-jose does not use pyca/cryptography for {algorithm}")


def _signing_key(private_key: PrivateKey, algorithm: Algorithm) -> SigningKey:
    verifying_key = _verifying_key(private_key.public_key(), algorithm)
    return SigningKey(
        verifying_key.kid, algorithm, verifying_key, _jose_key(private_key, algorithm), private_key
    )


def _verifying_key(public_key: object, algorithm: Algorithm) -> VerifyingKey:
    match algorithm, public_key:
        case Algorithm.ES256, ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            pass
        case Algorithm.RS256, rsa.RSAPublicKey(key_size=bits):
            if bits < RSA_BITS:
                raise WeakKey(f"an RSA key needs at least {RSA_BITS} bits")
            if public_key.public_numbers().e != RSA_EXPONENT:
                raise UnusableKey(f"an RSA key needs the exponent {RSA_EXPONENT}")
        case _:
            raise UnusableKey(f"the key does not fit {algorithm}")
    jose_key = _jose_key(public_key, algorithm)
    return VerifyingKey(thumbprint(_public_members(jose_key)), algorithm, jose_key)


def _jose_key(key: object, algorithm: Algorithm) -> CryptographyECKey | CryptographyRSAKey:
    if algorithm is Algorithm.ES256:
        return CryptographyECKey(key, algorithm.value)
    return CryptographyRSAKey(key, algorithm.value)


def _public_members(jose_key: Key) -> dict[str, str]:
    jwk_members = jose_key.to_dict()
    return {name: jwk_members[name] for name in ("kty", *_THUMBPRINT_MEMBERS[jwk_members["kty"]])}
