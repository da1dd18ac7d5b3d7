"""Sealed values open where they belong and nowhere else (ASVS 11.3.3, 11.3.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authapi.security import base64url
from authapi.security.derived_keys import DerivedKeys
from authapi.security.sealing import SealBroken, Sealer

OLD_SECRET = bytes(range(32))
NEW_SECRET = bytes(range(32, 64))
SEALER = Sealer(DerivedKeys(OLD_SECRET), "totp-secret")
CONTEXT = b"totp:0199f1d2"


class TestSealer:
    @given(plaintext=st.binary(max_size=300), context=st.binary(min_size=1))
    def test_round_trip(self, plaintext: bytes, context: bytes) -> None:
        assert SEALER.open(SEALER.seal(plaintext, context=context), context=context) == plaintext

    def test_shape(self) -> None:
        version, key_id, body = SEALER.seal(b"secret", context=CONTEXT).split(".")
        assert (version, key_id) == ("v1", DerivedKeys(OLD_SECRET).key_id("totp-secret"))
        assert len(base64url.decode(body)) == 12 + len(b"secret") + 16

    def test_nonces_do_not_repeat(self) -> None:
        nonces = {SEALER.seal(b"", context=CONTEXT).split(".")[2][:16] for _ in range(10_000)}
        assert len(nonces) == 10_000

    def test_every_flipped_bit_is_noticed(self) -> None:
        version, key_id, body = SEALER.seal(b"secret", context=CONTEXT).split(".")
        raw = base64url.decode(body)
        for bit in range(len(raw) * 8):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(SealBroken):
                SEALER.open(f"{version}.{key_id}.{base64url.encode(bytes(flipped))}", context=CONTEXT)

    def test_every_changed_character_is_noticed(self) -> None:
        sealed = SEALER.seal(b"secret", context=CONTEXT)
        for position, character in enumerate(sealed):
            changed = "A" if character != "A" else "B"
            with pytest.raises(SealBroken):
                SEALER.open(sealed[:position] + changed + sealed[position + 1 :], context=CONTEXT)

    def test_belongs_to_its_context(self) -> None:
        sealed = SEALER.seal(b"secret", context=b"totp:user-1")
        with pytest.raises(SealBroken):
            SEALER.open(sealed, context=b"totp:user-2")

    def test_belongs_to_its_purpose(self) -> None:
        sealed = SEALER.seal(b"secret", context=CONTEXT)
        with pytest.raises(SealBroken):
            Sealer(DerivedKeys(OLD_SECRET), "outbox").open(sealed, context=CONTEXT)

    def test_version_is_part_of_what_is_sealed(self) -> None:
        sealed = SEALER.seal(b"secret", context=CONTEXT)
        with pytest.raises(SealBroken, match="version"):
            SEALER.open(sealed.replace("v1", "v2", 1), context=CONTEXT)

    def test_empty_context_is_a_mistake_of_the_caller(self) -> None:
        with pytest.raises(ValueError, match="context"):
            SEALER.seal(b"secret", context=b"")
        with pytest.raises(ValueError, match="context"):
            SEALER.open("v1.a.b", context=b"")

    @pytest.mark.parametrize(
        "sealed", ["", ".", "..", "v1..", "v1.unknown1.AAAA", "plain", "v1.é.\ud800", "v1.a.b.c"]
    )
    def test_other_texts(self, sealed: str) -> None:
        with pytest.raises(SealBroken):
            SEALER.open(sealed, context=CONTEXT)

    @given(body=st.text())
    def test_any_text_under_a_good_header(self, body: str) -> None:
        header = SEALER.seal(b"", context=CONTEXT).rsplit(".", 1)[0]
        with pytest.raises(SealBroken):
            SEALER.open(f"{header}.{body}", context=CONTEXT)

    def test_the_error_does_not_carry_its_cause(self) -> None:
        with pytest.raises(SealBroken) as broken:
            SEALER.open("v1.unknown1.AAAA", context=CONTEXT)
        assert broken.value.__cause__ is None
        assert "AAAA" not in str(broken.value)


class TestRotation:
    def test_previous_secret_still_opens_and_asks_for_sealing_anew(self) -> None:
        sealed = SEALER.seal(b"secret", context=CONTEXT)
        rotated = Sealer(DerivedKeys(NEW_SECRET, [OLD_SECRET]), "totp-secret")
        assert SEALER.is_current(sealed)
        assert rotated.open(sealed, context=CONTEXT) == b"secret"
        assert not rotated.is_current(sealed)
        assert rotated.is_current(rotated.seal(b"secret", context=CONTEXT))

    def test_forgotten_secret_opens_nothing(self) -> None:
        sealed = SEALER.seal(b"secret", context=CONTEXT)
        with pytest.raises(SealBroken):
            Sealer(DerivedKeys(NEW_SECRET), "totp-secret").open(sealed, context=CONTEXT)
