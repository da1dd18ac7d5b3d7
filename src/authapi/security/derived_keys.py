"""One secret in, one independent key per purpose out (HKDF-SHA256, RFC 5869; ASVS 11.1.1, 11.2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from authapi.security import base64url

MIN_SECRET_BYTES = 32


class WeakSecret(ValueError):
    """A secret is shorter than 32 bytes (ASVS 11.2.3); the message never holds it."""


def derive_key(secret: bytes, *, purpose: str, length: int = 32) -> bytes:
    """Derive `length` bytes from `secret` that tell nothing about the keys of other purposes.

    Raises WeakSecret below 32 bytes of secret, ValueError for an empty or non-ASCII purpose.
    """
    return _expand(secret, label="key", purpose=purpose, length=length)


@dataclass(frozen=True, slots=True)
class _DerivedKey:
    key_id: str
    material: bytes = field(repr=False)


class DerivedKeys:
    """The keys of each purpose under the current secret and under those that are still read.

    Raises WeakSecret if any of the secrets is shorter than 32 bytes. Keys are derived once per purpose.
    """

    def __init__(self, current: bytes, previous: Sequence[bytes] = ()) -> None:
        self._secrets = tuple(dict.fromkeys((current, *previous)))
        for secret in self._secrets:
            _require_strong(secret)
        self._derived: dict[str, tuple[_DerivedKey, ...]] = {}

    def __repr__(self) -> str:
        return f"DerivedKeys({len(self._secrets)} secrets)"

    def current(self, purpose: str) -> bytes:
        """The key that new values of this purpose are made with."""
        return self._keys(purpose)[0].material

    def all(self, purpose: str) -> list[bytes]:
        """Every key that still reads values of this purpose, the current one first."""
        return [key.material for key in self._keys(purpose)]

    def key_id(self, purpose: str) -> str:
        """Eight base64url characters that name the current key and reveal nothing of it."""
        return self._keys(purpose)[0].key_id

    def by_id(self, purpose: str) -> dict[str, bytes]:
        """Every key that still reads values of this purpose, by its key id."""
        return {key.key_id: key.material for key in self._keys(purpose)}

    def _keys(self, purpose: str) -> tuple[_DerivedKey, ...]:
        keys = self._derived.get(purpose)
        if keys is None:
            keys = tuple(
                _DerivedKey(
                    # its own HKDF label: an id in clear must not be a piece of any key
                    key_id=base64url.encode(_expand(secret, label="key id", purpose=purpose, length=6)),
                    material=derive_key(secret, purpose=purpose),
                )
                for secret in self._secrets
            )
            self._derived[purpose] = keys
        return keys


def _expand(secret: bytes, *, label: str, purpose: str, length: int) -> bytes:
    _require_strong(secret)
    if not purpose or not purpose.isascii():
        raise ValueError("a purpose is non-empty ASCII text")
    info = f"authapi v1 {label}: {purpose}".encode("ascii")
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)


def _require_strong(secret: bytes) -> None:
    if len(secret) < MIN_SECRET_BYTES:
        raise WeakSecret(f"a secret needs at least {MIN_SECRET_BYTES} bytes")
