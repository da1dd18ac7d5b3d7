"""One-time tokens and refresh tokens: unguessable, in one spelling, ours alone (ASVS 7.2.3, 11.5.1)."""

import hashlib
import hmac
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authapi.security import base64url, opaque_tokens
from authapi.security.derived_keys import DerivedKeys
from authapi.security.opaque_tokens import InvalidOpaqueToken, RefreshTokenCodec, RefreshTokenParts

SECRET = bytes(range(32))
NEW_SECRET = bytes(range(32, 64))
CODEC = RefreshTokenCodec(DerivedKeys(SECRET))
SESSION_ID = UUID("0199f1d2-7c1e-7a55-9d1b-0f3a5b6c7d8e")


class TestGenerate:
    def test_token_and_digest(self) -> None:
        raw, digest = opaque_tokens.generate("authapi_ott_")
        assert raw.startswith("authapi_ott_")
        assert len(base64url.decode(raw.removeprefix("authapi_ott_"))) == 32
        assert digest == hashlib.sha256(raw.encode()).digest() == opaque_tokens.digest(raw)

    def test_no_two_alike(self) -> None:
        assert len({opaque_tokens.generate("authapi_ott_")[0] for _ in range(10_000)}) == 10_000

    @pytest.mark.parametrize(
        "prefix", ["", "_", "authapi", "Authapi_", "authapi__ott_", "a1_", "a_\n", "a b_"]
    )
    def test_prefix(self, prefix: str) -> None:
        with pytest.raises(ValueError, match="prefix"):
            opaque_tokens.generate(prefix)

    @given(raw=st.text())
    def test_digest_is_defined_for_every_text(self, raw: str) -> None:
        assert len(opaque_tokens.digest(raw)) == 32

    def test_digest_of_a_lone_surrogate(self) -> None:
        assert opaque_tokens.digest("\ud800") != opaque_tokens.digest("?")


class TestRefreshTokenCodec:
    @given(session_id=st.uuids(), generation=st.integers(0, 2**63 - 1))
    def test_round_trip(self, session_id: UUID, generation: int) -> None:
        raw = CODEC.issue(session_id, generation)
        assert raw.startswith("authapi_rt_")
        assert CODEC.parse(raw) == RefreshTokenParts(session_id, generation)

    def test_the_same_pair_gives_the_same_token(self) -> None:
        assert CODEC.issue(SESSION_ID, 7) == RefreshTokenCodec(DerivedKeys(SECRET)).issue(SESSION_ID, 7)
        assert CODEC.issue(SESSION_ID, 7) != CODEC.issue(SESSION_ID, 8)

    @pytest.mark.parametrize("generation", [-1, 2**63])
    def test_generation_out_of_range(self, generation: int) -> None:
        with pytest.raises(ValueError, match="generation"):
            CODEC.issue(SESSION_ID, generation)

    def test_every_flipped_bit_is_noticed(self) -> None:
        raw = base64url.decode(CODEC.issue(SESSION_ID, 7).removeprefix("authapi_rt_"))
        for bit in range(len(raw) * 8):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(InvalidOpaqueToken):
                CODEC.parse("authapi_rt_" + base64url.encode(bytes(flipped)))

    def test_other_spellings(self) -> None:
        good = CODEC.issue(UUID(int=2**128 - 1), 7)
        assert "_" in good.removeprefix("authapi_rt_")
        slashed = "authapi_rt_" + good.removeprefix("authapi_rt_").replace("_", "/")
        spellings = (
            slashed,
            good + "=",
            good + " ",
            " " + good,
            good + "\n",
            good.upper(),
            good[:-1],
            good + good,
        )
        for spelling in (*spellings, good.replace("rt", "ott"), good.removeprefix("authapi_rt_")):
            with pytest.raises(InvalidOpaqueToken):
                CODEC.parse(spelling)

    @given(body=st.text(min_size=76, max_size=76) | st.binary(min_size=57, max_size=57).map(base64url.encode))
    def test_any_body_of_the_right_size(self, body: str) -> None:
        with pytest.raises(InvalidOpaqueToken):
            CODEC.parse("authapi_rt_" + body)

    @given(raw=st.text())
    def test_any_text(self, raw: str) -> None:
        with pytest.raises(InvalidOpaqueToken):
            CODEC.parse(raw)

    def test_another_version_is_refused_even_if_it_is_ours(self) -> None:
        signed = b"\x02" + SESSION_ID.bytes + bytes(8)
        mac = hmac.digest(DerivedKeys(SECRET).current("refresh-token"), signed, "sha256")
        with pytest.raises(InvalidOpaqueToken):
            CODEC.parse("authapi_rt_" + base64url.encode(signed + mac))

    def test_rotation_of_the_secret(self) -> None:
        old = CODEC.issue(SESSION_ID, 7)
        rotated = RefreshTokenCodec(DerivedKeys(NEW_SECRET, [SECRET]))
        assert rotated.parse(old) == RefreshTokenParts(SESSION_ID, 7)
        assert rotated.issue(SESSION_ID, 7) != old
        with pytest.raises(InvalidOpaqueToken):
            RefreshTokenCodec(DerivedKeys(NEW_SECRET)).parse(old)

    def test_the_error_does_not_hold_the_token(self) -> None:
        forged = CODEC.issue(SESSION_ID, 7)[:-1] + "?"
        with pytest.raises(InvalidOpaqueToken) as refused:
            CODEC.parse(forged)
        assert forged[-10:] not in str(refused.value)
        assert refused.value.__suppress_context__
