"""ASVS 9.1.1 to 9.2.3, RFC 8725: nothing but a good token passes, and every refusal is InvalidAccessToken."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authapi.security.access_tokens import AccessTokenClaims, InvalidAccessToken, decode_access_token
from authapi.security.signing_keys import Algorithm, SigningKey, generate_signing_key
from tests.security.hostile_tokens import build_hostile_tokens, survives_http
from tests.security.token_forge import Forge, encode

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
INSTANT = int(NOW.timestamp())
USER_ID = "0199f1d2-7c1e-7a55-9d1b-0f3a5b6c7d8e"
VALID_CLAIMS: dict[str, Any] = {
    "iss": "https://auth.example.com",
    "aud": "authapi",
    "sub": USER_ID,
    "client_id": "authapi-web",
    "iat": INSTANT - 60,
    "exp": INSTANT + 3540,
    "jti": "0199f1d2-7c1e-7a55-9d1b-aaaaaaaaaaaa",
    "sid": "0199f1d2-7c1e-7a55-9d1b-bbbbbbbbbbbb",
    "scope": "users:read profile",
    "roles": ["user", "editor"],
    "role": "editor",
    "email": "ann@example.com",
    "user_id": USER_ID,
    "amr": ["pwd", "otp"],
    "auth_time": INSTANT - 120,
}


KEYS = {algorithm: generate_signing_key(algorithm) for algorithm in Algorithm}
HS256_KEY = KEYS[Algorithm.HS256]


@pytest.fixture(scope="module", params=list(Algorithm), ids=str)
def key(request: pytest.FixtureRequest) -> SigningKey:
    return KEYS[request.param]


@pytest.fixture(scope="module")
def corpus(key: SigningKey) -> list[tuple[str, str]]:
    return build_hostile_tokens(VALID_CLAIMS, key=key, other_key=generate_signing_key(key.algorithm))


def decode(token: Any, *keys: SigningKey) -> AccessTokenClaims:
    return decode_access_token(
        token,
        keys={key.kid: key.verifying_key for key in keys},
        issuer="https://auth.example.com",
        audience="authapi",
        now=NOW,
    )


def refusal(token: Any, *keys: SigningKey) -> str | None:
    """The reason of the refusal, or None where the token was accepted; other exceptions pass through."""
    try:
        decode(token, *keys)
    except InvalidAccessToken as error:
        return error.reason
    return None


class TestCorpus:
    def test_the_unchanged_token_is_good(self, key: SigningKey) -> None:
        assert decode(Forge(VALID_CLAIMS, key).good(), key).email == "ann@example.com"

    def test_every_token_is_refused_for_its_own_fault(
        self, key: SigningKey, corpus: list[tuple[str, str]]
    ) -> None:
        # the keys of the other algorithms are trusted too, so that a confusion would find one
        reasons = {name: refusal(token, *KEYS.values()) for name, token in corpus}

        assert len(reasons) == len(corpus) > 500, "names are unique"
        assert [name for name, reason in reasons.items() if reason is None] == []
        by_kind: dict[str, set[str | None]] = {}
        for name, reason in reasons.items():
            by_kind.setdefault(name.split()[0], set()).add(reason)
        earlier_checks = {"not_a_compact_jws", "not_canonical_base64url", "bad_header", "unknown_key"}
        assert by_kind["signature"] <= {"bad_signature", "unknown_key"}
        assert by_kind["claim"].isdisjoint({*earlier_checks, "bad_signature"})
        assert by_kind["header"].isdisjoint({"not_canonical_base64url", "bad_signature"})
        assert by_kind["payload"] <= {"malformed", "bad_value", "too_large", "bad_iss"}
        respelled = {reason for name, reason in reasons.items() if " ends part " in name}
        assert respelled <= {"not_a_compact_jws", "not_canonical_base64url"}

    def test_most_of_the_corpus_can_be_sent_over_http(self, corpus: list[tuple[str, str]]) -> None:
        assert sum(survives_http(token) for _, token in corpus) > 450
        assert not survives_http("good ")

    def test_every_character_counts(self, key: SigningKey) -> None:
        good = Forge(VALID_CLAIMS, key).good()
        for position in range(0, len(good), 3):
            changed = "A" if good[position] != "A" else "B"
            assert refusal(good[:position] + changed + good[position + 1 :], key) is not None


class TestAnything:
    @pytest.mark.parametrize("token", [None, 1, 1.5, True, b"a.b.c", [], {}, ("a", "b", "c"), object()])
    def test_other_types(self, token: object) -> None:
        assert refusal(token) == "not_text"

    @given(token=st.text())
    def test_text(self, token: str) -> None:
        assert refusal(token, HS256_KEY) is not None

    @given(token=st.binary())
    def test_bytes(self, token: bytes) -> None:
        assert refusal(token, HS256_KEY) is not None

    @given(header=st.binary(max_size=600), payload=st.binary(max_size=600), signature=st.binary(max_size=100))
    def test_three_parts_of_bytes(self, header: bytes, payload: bytes, signature: bytes) -> None:
        assert refusal(f"{encode(header)}.{encode(payload)}.{encode(signature)}", HS256_KEY) is not None

    @given(payload=st.binary(max_size=600))
    def test_signed_bytes(self, payload: bytes) -> None:
        assert refusal(Forge(VALID_CLAIMS, HS256_KEY).with_payload(payload), HS256_KEY) is not None

    @given(
        name=st.sampled_from(sorted(VALID_CLAIMS)),
        value=st.recursive(
            st.none() | st.booleans() | st.floats() | st.lists(st.integers(), min_size=1),
            lambda inner: (
                st.dictionaries(st.text(max_size=5), inner, max_size=3)
                | st.lists(inner, min_size=1, max_size=3)
            ),
            max_leaves=5,
        ),
    )
    def test_signed_claims_of_wrong_shape(self, name: str, value: object) -> None:
        token = Forge({**VALID_CLAIMS, name: value}, HS256_KEY).good()
        assert refusal(token, HS256_KEY) is not None

    @given(header=st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.text())))
    def test_signed_headers(self, header: dict[str, Any]) -> None:
        token = Forge(VALID_CLAIMS, HS256_KEY).with_header(**{**header, "extra": 1})
        assert refusal(token, HS256_KEY) is not None
