"""Access tokens after RFC 9068: what is issued, what is read back, and when it ends."""

import base64
import dataclasses
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authapi.security.access_tokens import (
    MAX_TOKEN_CHARACTERS,
    AccessTokenClaims,
    AccessTokenExpired,
    InvalidAccessToken,
    UnissuableAccessToken,
    decode_access_token,
    encode_access_token,
    token_digest,
)
from authapi.security.signing_keys import Algorithm, SigningKey, generate_signing_key
from tests.security.token_forge import Forge

ISSUER = "https://auth.example.com"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
IAT = int(NOW.timestamp())
USER_ID = "0199f1d2-7c1e-7a55-9d1b-0f3a5b6c7d8e"
USER = AccessTokenClaims(
    iss=ISSUER,
    aud="authapi",
    sub=USER_ID,
    client_id="authapi-web",
    iat=IAT,
    exp=IAT + 3600,
    jti="0199f1d2-7c1e-7a55-9d1b-aaaaaaaaaaaa",
    scope="users:read profile",
    sid="0199f1d2-7c1e-7a55-9d1b-bbbbbbbbbbbb",
    user_id=USER_ID,
    email="zoë@example.com",
    role="editor",
    roles=("user", "editor"),
    amr=("pwd", "otp"),
    auth_time=IAT - 60,
)
SERVICE = AccessTokenClaims(
    iss=ISSUER,
    aud="authapi",
    sub="svc_reports",
    client_id="svc_reports",
    iat=IAT,
    exp=IAT + 600,
    jti="0199f1d2-7c1e-7a55-9d1b-cccccccccccc",
    scope="",
)
KEYS = {algorithm: generate_signing_key(algorithm) for algorithm in Algorithm}
KEY = KEYS[Algorithm.ES256]


def decode(token: str, *keys: SigningKey, now: datetime = NOW, leeway_seconds: int = 30) -> AccessTokenClaims:
    return decode_access_token(
        token,
        keys={key.kid: key.verifying_key for key in keys or (KEY,)},
        issuer=ISSUER,
        audience="authapi",
        now=now,
        leeway_seconds=leeway_seconds,
    )


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = token.split(".")
    return json.loads(_decode(header)), json.loads(_decode(payload))


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def claims_of(token: str) -> dict[str, Any]:
    return parts_of(token)[1]


class TestEncode:
    @pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
    @pytest.mark.parametrize("claims", [USER, SERVICE], ids=["user", "service"])
    def test_round_trip(self, claims: AccessTokenClaims, key: SigningKey) -> None:
        assert decode(encode_access_token(claims, key=key), *KEYS.values()) == claims

    def test_header(self) -> None:
        header, _ = parts_of(encode_access_token(USER, key=KEY))
        assert header == {"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}

    def test_claims_of_a_user(self) -> None:
        names = "iss aud sub client_id iat exp jti sid scope roles role email user_id amr auth_time"
        claims = claims_of(encode_access_token(USER, key=KEY))
        assert claims.keys() == set(names.split())
        assert claims["roles"] == ["user", "editor"]
        assert claims["email"] == "zoë@example.com"

    def test_claims_of_a_service_client(self) -> None:
        claims = claims_of(encode_access_token(SERVICE, key=KEY))
        assert claims.keys() == set("iss aud sub client_id iat exp jti scope".split())
        assert SERVICE.is_service_client
        assert not USER.is_service_client

    def test_user_without_roles(self) -> None:
        claims = dataclasses.replace(USER, role=None, roles=(), amr=())
        token = encode_access_token(claims, key=KEY)
        assert "role" not in claims_of(token)
        assert decode(token) == claims

    @pytest.mark.parametrize(
        "changes",
        [
            {"sid": None},
            {"email": None},
            {"auth_time": None},
            {"user_id": "somebody-else"},
            {"client_id": USER_ID},
            {"role": None},
            {"role": "admin"},
            {"exp": IAT},
            {"iat": float(IAT)},
            {"iat": True},
            {"exp": float("nan")},
            {"exp": 2**63},
            {"sub": ""},
            {"scope": "two  spaces"},
            {"email": "a\udc80@example.com"},
            {"email": "a\0@example.com"},
            {"roles": ["user", "editor"]},
            {"roles": ("editor", 1)},
        ],
        ids=repr,
    )
    def test_never_issues_what_would_be_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(UnissuableAccessToken):
            encode_access_token(dataclasses.replace(USER, **changes), key=KEY)

    def test_service_client_with_a_foreign_subject(self) -> None:
        with pytest.raises(UnissuableAccessToken, match="wrong_subject"):
            encode_access_token(dataclasses.replace(SERVICE, sub=USER_ID), key=KEY)

    def test_largest_token(self) -> None:
        # RS256 has the longest signature
        key = KEYS[Algorithm.RS256]
        room = MAX_TOKEN_CHARACTERS - len(encode_access_token(USER, key=key))
        fits = dataclasses.replace(USER, scope=USER.scope + "x" * (room * 3 // 4 - 3))
        assert decode(encode_access_token(fits, key=key), key) == fits
        with pytest.raises(UnissuableAccessToken, match="token_too_large"):
            encode_access_token(dataclasses.replace(USER, scope="x" * 4000), key=key)

    def test_a_rich_token_fits(self) -> None:
        claims = dataclasses.replace(
            USER,
            email="e" * 64 + "@" + "d" * 185 + ".com",
            scope=" ".join(f"some-resource-{n}:write" for n in range(40)),
            roles=("editor", *(f"custom-role-{n}" for n in range(16))),
        )
        assert len(encode_access_token(claims, key=KEYS[Algorithm.RS256])) < MAX_TOKEN_CHARACTERS

    def test_repr_hides_the_email(self) -> None:
        assert "example.com'" not in repr(USER).replace(ISSUER, "")

    def test_scopes(self) -> None:
        assert USER.scopes == {"users:read", "profile"}
        assert SERVICE.scopes == frozenset()


class TestDecode:
    def test_unknown_flat_claims_are_ignored(self) -> None:
        # a newer authapi next to this one may add a claim (RFC 7519 section 4)
        claims = claims_of(encode_access_token(USER, key=KEY))
        token = Forge({**claims, "tenant": "t1", "groups": ["a", "b"], "beta": True, "level": 3}, KEY).good()
        assert decode(token) == USER

    def test_nbf_is_honoured(self) -> None:
        claims = claims_of(encode_access_token(USER, key=KEY))
        assert decode(Forge({**claims, "nbf": IAT + 30}, KEY).good()) == USER
        with pytest.raises(InvalidAccessToken) as refused:
            decode(Forge({**claims, "nbf": IAT + 31}, KEY).good())
        assert refused.value.reason == "not_yet_valid"

    def test_key_is_found_by_kid_alone(self) -> None:
        token = encode_access_token(USER, key=KEY)
        with pytest.raises(InvalidAccessToken) as refused:
            decode(token, generate_signing_key(Algorithm.ES256), KEYS[Algorithm.HS256])
        assert refused.value.reason == "unknown_key"

    def test_a_key_has_one_algorithm(self) -> None:
        header = {"alg": "HS256", "kid": KEY.kid, "typ": "at+jwt"}
        payload = json.dumps(claims_of(encode_access_token(USER, key=KEY))).encode()
        token = Forge({}, KEY).sign(json.dumps(header).encode(), payload, KEYS[Algorithm.HS256])
        with pytest.raises(InvalidAccessToken) as refused:
            decode(token, *KEYS.values())
        assert refused.value.reason == "wrong_algorithm"

    @pytest.mark.parametrize(
        ("issuer", "audience", "reason"),
        [(ISSUER + "/", "authapi", "wrong_issuer"), (ISSUER, "other", "wrong_audience")],
    )
    def test_issuer_and_audience(self, issuer: str, audience: str, reason: str) -> None:
        token = encode_access_token(USER, key=KEY)
        with pytest.raises(InvalidAccessToken) as refused:
            decode_access_token(
                token, keys={KEY.kid: KEY.verifying_key}, issuer=issuer, audience=audience, now=NOW
            )
        assert refused.value.reason == reason

    def test_unexpected_failures_are_refusals(self) -> None:
        token = encode_access_token(USER, key=KEY)
        with pytest.raises(InvalidAccessToken) as refused:
            decode_access_token(token, keys=None, issuer=ISSUER, audience="authapi", now=NOW)  # type: ignore[arg-type]
        assert refused.value.reason == "malformed"
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__

    def test_deep_payload(self) -> None:
        payload = b'{"a":' + b"[" * 1_400 + b"]" * 1_400 + b"}"
        with pytest.raises(InvalidAccessToken) as refused:
            decode(Forge({}, KEY).with_payload(payload))
        assert refused.value.reason in {"malformed", "bad_value"}

    def test_naive_now_is_a_mistake_of_the_caller(self) -> None:
        token = encode_access_token(USER, key=KEY)
        with pytest.raises(ValueError, match="aware"):
            decode(token, now=NOW.replace(tzinfo=None))

    @given(
        scope=st.lists(st.from_regex(r"[!#-\[\]-~]{1,20}", fullmatch=True), max_size=10).map(" ".join),
        email=st.emails(),
        roles=st.lists(st.sampled_from(["user", "editor", "admin", "auditor"]), min_size=1, unique=True),
        lifetime=st.integers(1, 10**9),
    )
    def test_whatever_is_issued_is_read_back(
        self, scope: str, email: str, roles: list[str], lifetime: int
    ) -> None:
        claims = dataclasses.replace(
            USER, scope=scope, email=email, roles=tuple(roles), role=roles[0], exp=IAT + lifetime
        )
        assert decode(encode_access_token(claims, key=KEY)) == claims


class TestTime:
    @pytest.mark.parametrize(("seconds", "good"), [(0, True), (3600, True), (3629, True), (3630, False)])
    def test_expiry_with_leeway(self, seconds: int, good: bool) -> None:
        token = encode_access_token(USER, key=KEY)
        now = NOW + timedelta(seconds=seconds)
        if good:
            assert decode(token, now=now) == USER
        else:
            with pytest.raises(AccessTokenExpired) as expired:
                decode(token, now=now)
            assert expired.value.reason == "expired"

    def test_expiry_without_leeway(self) -> None:
        token = encode_access_token(USER, key=KEY)
        almost = NOW + timedelta(seconds=3600, microseconds=-1)
        assert decode(token, now=almost, leeway_seconds=0) == USER
        with pytest.raises(AccessTokenExpired):
            decode(token, now=NOW + timedelta(seconds=3600), leeway_seconds=0)

    def test_issued_by_a_host_whose_clock_is_ahead(self) -> None:
        token = encode_access_token(USER, key=KEY)
        assert decode(token, now=NOW - timedelta(seconds=30)) == USER
        with pytest.raises(InvalidAccessToken) as refused:
            decode(token, now=NOW - timedelta(seconds=31))
        assert refused.value.reason == "issued_in_the_future"

    def test_kept_claims_are_checked_at_every_use(self) -> None:
        claims = decode(encode_access_token(USER, key=KEY))
        claims.ensure_current(NOW + timedelta(seconds=3629))
        with pytest.raises(AccessTokenExpired):
            claims.ensure_current(NOW + timedelta(seconds=3630))
        with pytest.raises(AccessTokenExpired):
            claims.ensure_current(NOW + timedelta(seconds=3600), leeway_seconds=0)

    def test_service_client(self) -> None:
        SERVICE.ensure_current(NOW)
        with pytest.raises(AccessTokenExpired):
            SERVICE.ensure_current(NOW + timedelta(hours=1))


class TestTokenDigest:
    def test_is_sha256(self) -> None:
        assert token_digest("a.b.c") == hashlib.sha256(b"a.b.c").digest()

    def test_is_defined_for_every_text(self) -> None:
        assert len(token_digest("\ud800")) == 32
