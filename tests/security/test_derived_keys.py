"""One secret, one key per purpose (RFC 5869)."""

import pytest
from cryptography.hazmat.primitives import hashes, hmac

from authapi.security import base64url
from authapi.security.derived_keys import DerivedKeys, WeakSecret, derive_key

SECRET = bytes(range(32))
OLDER = bytes(range(32, 64))


def _hmac(key: bytes, message: bytes) -> bytes:
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(message)
    return mac.finalize()


class TestDeriveKey:
    def test_is_hkdf_sha256(self) -> None:
        # RFC 5869 section 2, one block: extract with a zero salt, then expand
        pseudo_random_key = _hmac(bytes(32), SECRET)
        expected = _hmac(pseudo_random_key, b"authapi v1 key: totp\x01")
        assert derive_key(SECRET, purpose="totp") == expected

    def test_length(self) -> None:
        assert len(derive_key(SECRET, purpose="totp", length=64)) == 64

    def test_purposes_and_secrets_are_independent(self) -> None:
        keys = {
            derive_key(secret, purpose=purpose) for secret in (SECRET, OLDER) for purpose in ("a", "b", "ab")
        }
        assert len(keys) == 6

    @pytest.mark.parametrize("secret", [b"", b"x", bytes(31)])
    def test_weak_secret(self, secret: bytes) -> None:
        with pytest.raises(WeakSecret):
            derive_key(secret, purpose="totp")

    @pytest.mark.parametrize("purpose", ["", "größe"])
    def test_purpose(self, purpose: str) -> None:
        with pytest.raises(ValueError, match="purpose"):
            derive_key(SECRET, purpose=purpose)


class TestDerivedKeys:
    def test_current_comes_first(self) -> None:
        keys = DerivedKeys(SECRET, [OLDER])
        assert keys.current("totp") == derive_key(SECRET, purpose="totp")
        assert keys.all("totp") == [keys.current("totp"), derive_key(OLDER, purpose="totp")]

    def test_key_ids_name_secret_and_purpose(self) -> None:
        keys, older = DerivedKeys(SECRET, [OLDER]), DerivedKeys(OLDER)
        assert list(keys.by_id("totp")) == [keys.key_id("totp"), older.key_id("totp")]
        assert keys.by_id("totp")[older.key_id("totp")] == older.current("totp")
        assert keys.key_id("totp") != keys.key_id("outbox")
        assert len(keys.key_id("totp")) == 8

    def test_key_id_is_no_piece_of_the_key(self) -> None:
        keys = DerivedKeys(SECRET)
        assert base64url.decode(keys.key_id("totp")) not in keys.current("totp")

    def test_a_secret_named_twice_counts_once(self) -> None:
        assert len(DerivedKeys(SECRET, [SECRET, OLDER]).all("totp")) == 2

    def test_a_weak_previous_secret_is_refused_at_once(self) -> None:
        with pytest.raises(WeakSecret) as refused:
            DerivedKeys(SECRET, [b"hunter2"])
        assert "hunter2" not in str(refused.value)

    def test_repr_shows_no_secret(self) -> None:
        keys = DerivedKeys(b"top-secret" * 4, [OLDER])
        keys.current("totp")
        assert repr(keys) == "DerivedKeys(2 secrets)"
        assert keys.current("totp").hex() not in repr(vars(keys)["_derived"])
