"""The bound on roles is low enough for the largest token that anything else can make."""

from datetime import UTC, datetime

import pytest

from authapi.security.access_tokens import (
    MAX_TOKEN_CHARACTERS,
    AccessTokenClaims,
    UnissuableAccessToken,
    encode_access_token,
)
from authapi.security.signing_keys import Algorithm, generate_signing_key
from authapi.services.role_assignment import MAX_CLAIM_BYTES

NOW = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())


def largest_claims(*, roles: tuple[str, ...], scope: str) -> AccessTokenClaims:
    user_id = "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f"
    return AccessTokenClaims(
        iss=f"https://{'a' * 253}:65535",
        aud="b" * 200,
        sub=user_id,
        client_id="authapi",
        iat=NOW,
        exp=NOW + 3600,
        jti="c" * 22,
        scope=scope,
        sid=user_id,
        user_id=user_id,
        email="d" * 254,
        role=max(roles, key=len),
        roles=roles,
        amr=("pwd", "otp", "mfa", "hwk"),
        auth_time=NOW,
    )


class TestBound:
    @pytest.mark.parametrize("algorithm", list(Algorithm))
    def test_the_largest_token_can_be_issued(self, algorithm: Algorithm) -> None:
        key = generate_signing_key(algorithm)
        # One role with a name of 63 characters, which the claim `role` repeats; the rest are permissions.
        role = "r" * 63
        left = MAX_CLAIM_BYTES - len(role) - 3
        scope = " ".join(["s" * 24] * (left // 25)) + "s" * (left % 25)
        token = encode_access_token(largest_claims(roles=(role,), scope=scope), key=key)
        assert len(token) <= MAX_TOKEN_CHARACTERS
        # The same with nothing but roles.
        roles = (role, *("r" * 60 + f"{number:02}x" for number in range(MAX_CLAIM_BYTES // 66 - 1)))
        token = encode_access_token(largest_claims(roles=roles, scope=""), key=key)
        assert len(token) <= MAX_TOKEN_CHARACTERS

    def test_the_bound_is_needed(self) -> None:
        key = generate_signing_key(Algorithm.RS256)
        with pytest.raises(UnissuableAccessToken):
            encode_access_token(largest_claims(roles=("r",), scope="s" * 2 * MAX_CLAIM_BYTES), key=key)
