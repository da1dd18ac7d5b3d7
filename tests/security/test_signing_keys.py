"""Signing keys: strong, of one algorithm, named by thumbprint (RFC 7638; ASVS 11.2.1, 11.2.3, 11.6.1)."""

import base64
import hashlib
import json

import jose.backends
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jose.backends.ecdsa_backend import ECDSAECKey
from jose.backends.rsa_backend import RSAKey

from authapi.security.signing_keys import (
    Algorithm,
    SigningKey,
    UnsafeCryptoBackend,
    UnusableKey,
    VerifyingKey,
    WeakKey,
    assert_cryptography_backend,
    generate_signing_key,
    jwks,
    thumbprint,
)

ES256, RS256, HS256 = (generate_signing_key(algorithm) for algorithm in Algorithm)
SECRET = b"correct horse battery staple, 32+ bytes"


def pem_of(private_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class TestGenerate:
    def test_es256_is_p256(self) -> None:
        private_key = load_pem_private_key(ES256.private_pem(), password=None)
        assert isinstance(private_key, ec.EllipticCurvePrivateKey)
        assert isinstance(private_key.curve, ec.SECP256R1)

    def test_rs256_has_3072_bits_and_f4(self) -> None:
        private_key = load_pem_private_key(RS256.private_pem(), password=None)
        assert isinstance(private_key, rsa.RSAPrivateKey)
        assert private_key.key_size == 3072
        assert private_key.public_key().public_numbers().e == 65537

    @pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.HS256])
    def test_no_two_alike(self, algorithm: Algorithm) -> None:
        assert len({generate_signing_key(algorithm).kid for _ in range(50)}) == 50

    @pytest.mark.parametrize("key", [ES256, RS256, HS256], ids=["ES256", "RS256", "HS256"])
    def test_signs_for_its_verifying_key(self, key: SigningKey) -> None:
        signature = key.jose_key.sign(b"message")
        assert key.verifying_key.jose_key.verify(b"message", signature)
        assert not key.verifying_key.jose_key.verify(b"massage", signature)
        assert (key.kid, key.algorithm) == (key.verifying_key.kid, key.verifying_key.algorithm)


class TestPem:
    @pytest.mark.parametrize("key", [ES256, RS256], ids=["ES256", "RS256"])
    def test_round_trip(self, key: SigningKey) -> None:
        again = SigningKey.from_private_pem(key.private_pem(), key.algorithm)
        assert again == key
        assert again.public_jwk() == key.public_jwk()
        assert again.verifying_key.jose_key.verify(b"message", key.jose_key.sign(b"message"))

    @pytest.mark.parametrize("algorithm", [Algorithm.RS256, Algorithm.HS256])
    def test_other_algorithm(self, algorithm: Algorithm) -> None:
        with pytest.raises(UnusableKey):
            SigningKey.from_private_pem(ES256.private_pem(), algorithm)

    def test_other_kinds_of_keys(self) -> None:
        p384 = pem_of(ec.generate_private_key(ec.SECP384R1()))
        koblitz = pem_of(ec.generate_private_key(ec.SECP256K1()))
        edwards = pem_of(ed25519.Ed25519PrivateKey.generate())
        for pem in (p384, koblitz, edwards, RS256.private_pem()):
            with pytest.raises(UnusableKey):
                SigningKey.from_private_pem(pem, Algorithm.ES256)

    def test_short_rsa_key(self) -> None:
        with pytest.raises(WeakKey):
            SigningKey.from_private_pem(pem_of(rsa.generate_private_key(65537, 2048)), Algorithm.RS256)

    def test_small_exponent(self) -> None:
        with pytest.raises(UnusableKey, match="exponent"):
            SigningKey.from_private_pem(pem_of(rsa.generate_private_key(3, 3072)), Algorithm.RS256)

    def test_unreadable(self) -> None:
        locked = load_pem_private_key(ES256.private_pem(), password=None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
        )
        public = ES256.verifying_key.jose_key.to_pem()
        for pem in (b"", b"secret nonsense", locked, public, ES256.private_pem()[:100]):
            with pytest.raises(UnusableKey) as refused:
                SigningKey.from_private_pem(pem, Algorithm.ES256)
            assert "nonsense" not in str(refused.value)
            assert refused.value.__suppress_context__

    def test_shared_secret_has_none(self) -> None:
        with pytest.raises(UnusableKey):
            HS256.private_pem()


class TestSharedSecret:
    @pytest.mark.parametrize("secret", [b"", b"x", bytes(31)])
    def test_too_short(self, secret: bytes) -> None:
        with pytest.raises(WeakKey):
            SigningKey.from_shared_secret(secret)

    def test_same_secret_same_kid(self) -> None:
        assert SigningKey.from_shared_secret(SECRET).kid == SigningKey.from_shared_secret(SECRET).kid
        assert SigningKey.from_shared_secret(SECRET).kid != SigningKey.from_shared_secret(SECRET + b"!").kid

    def test_kid_is_not_the_thumbprint_that_anybody_could_compute(self) -> None:
        k = base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()
        plain = hashlib.sha256(json.dumps({"k": k, "kty": "oct"}, separators=(",", ":")).encode()).digest()
        assert base64.urlsafe_b64encode(plain)[:22].decode() != SigningKey.from_shared_secret(SECRET).kid

    def test_a_public_key_is_no_secret(self) -> None:
        for secret in (ES256.verifying_key.jose_key.to_pem(), b"ssh-rsa AAAAB3NzaC1yc2E" + b"A" * 40):
            with pytest.raises(UnusableKey):
                SigningKey.from_shared_secret(secret)


class TestJwk:
    def test_es256_members(self) -> None:
        jwk = ES256.public_jwk()
        assert jwk.keys() == {"kty", "crv", "x", "y", "alg", "use", "kid"}
        assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) == ("EC", "P-256", "ES256", "sig")
        assert jwk["kid"] == ES256.kid == thumbprint(jwk)

    def test_rs256_members(self) -> None:
        jwk = RS256.public_jwk()
        assert jwk.keys() == {"kty", "n", "e", "alg", "use", "kid"}
        assert (jwk["kty"], jwk["e"], jwk["alg"]) == ("RSA", "AQAB", "RS256")
        assert jwk["kid"] == RS256.kid == thumbprint(jwk)

    def test_thumbprint_of_the_example_in_rfc_7638(self) -> None:
        n = (
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXj"
            "BZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqz"
            "s8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ"
            "-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
        )
        jwk = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
        assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

    def test_jwks_holds_public_keys_only(self) -> None:
        published = jwks([ES256, RS256.verifying_key, HS256])
        assert published == {"keys": [ES256.public_jwk(), RS256.public_jwk()]}
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & {
            name for key in published["keys"] for name in key
        }
        assert jwks([HS256]) == {"keys": []}

    def test_shared_secret_is_never_published(self) -> None:
        for key in (HS256, HS256.verifying_key):
            with pytest.raises(UnusableKey):
                key.public_jwk()

    @pytest.mark.parametrize("key", [ES256, RS256], ids=["ES256", "RS256"])
    def test_a_retired_key_needs_only_its_jwk(self, key: SigningKey) -> None:
        retired = VerifyingKey.from_public_jwk({**key.public_jwk(), "kid": "whatever it says"})
        assert retired == key.verifying_key
        assert retired.jose_key.verify(b"message", key.jose_key.sign(b"message"))

    @pytest.mark.parametrize(
        "changes",
        [
            {"alg": "RS256"},
            {"alg": "HS256"},
            {"alg": "none"},
            {"kty": "oct"},
            {"kty": "RSA"},
            {"crv": "P-384"},
            {"x": "AAAA"},
            {"y": ""},
            {"y": None},
        ],
        ids=repr,
    )
    def test_unusable_jwk(self, changes: dict[str, str]) -> None:
        with pytest.raises(UnusableKey):
            VerifyingKey.from_public_jwk({**ES256.public_jwk(), **changes})

    def test_short_rsa_jwk(self) -> None:
        n = base64.urlsafe_b64encode((2**2047 + 1).to_bytes(256, "big")).rstrip(b"=").decode()
        with pytest.raises(WeakKey):
            VerifyingKey.from_public_jwk({"kty": "RSA", "alg": "RS256", "n": n, "e": "AQAB"})


class TestSilence:
    @pytest.mark.parametrize("key", [ES256, RS256, HS256], ids=["ES256", "RS256", "HS256"])
    def test_repr_shows_name_and_algorithm_only(self, key: SigningKey) -> None:
        assert (
            repr(key)
            == f"SigningKey(kid='{key.kid}', algorithm=<Algorithm.{key.algorithm}: '{key.algorithm}'>)"
        )
        assert str(key) == f"{key}" == repr(key)
        assert "jose" not in repr(key.verifying_key)


class TestBackend:
    def test_is_cryptography(self) -> None:
        assert_cryptography_backend()

    @pytest.mark.parametrize(("name", "backend"), [("ECKey", ECDSAECKey), ("RSAKey", RSAKey)])
    def test_slow_and_leaky_backends_are_refused(
        self, monkeypatch: pytest.MonkeyPatch, name: str, backend: type
    ) -> None:
        monkeypatch.setattr(jose.backends, name, backend)
        with pytest.raises(UnsafeCryptoBackend):
            assert_cryptography_backend()
