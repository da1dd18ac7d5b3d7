"""Secrets at rest: AES-256-GCM with the place a value belongs to as associated data (ASVS 11.3.2, 11.3.3).

A sealed value is `v1.<key id>.<base64url(nonce || ciphertext || tag)>`. Nonces are 96 random bits, which is
sound for 2**32 values per key (NIST SP 800-38D section 8.3), far beyond the secrets of any installation.
"""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authapi.security import base64url
from authapi.security.derived_keys import DerivedKeys

_VERSION = "v1"
_NONCE_BYTES = 12


class SealBroken(Exception):
    """A sealed value was altered, belongs to another context, or was made with a key we no longer have."""


class Sealer:
    """Seals and opens values of one purpose.

    `context` names where the value belongs (table, column, row id): a value that is copied to somebody else's
    row does not open there. It must not be empty (ValueError).
    """

    def __init__(self, keys: DerivedKeys, purpose: str) -> None:
        self._current_key_id = keys.key_id(purpose)
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.by_id(purpose).items()}

    def seal(self, plaintext: bytes, *, context: bytes) -> str:
        """The sealed text of `plaintext` under the current key; differs at every call."""
        header = f"{_VERSION}.{self._current_key_id}."
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = self._ciphers[self._current_key_id].encrypt(nonce, plaintext, _bind(header, context))
        return header + base64url.encode(nonce + ciphertext)

    def open(self, sealed: str, *, context: bytes) -> bytes:
        """The plaintext of `sealed`; raises SealBroken, and nothing else, for whatever does not open."""
        associated_data = _bind(sealed[: sealed.rfind(".") + 1], context)
        try:
            version, key_id, body = sealed.split(".")
            if version != _VERSION:
                raise SealBroken("unknown version")
            raw = base64url.decode(body)
            return self._ciphers[key_id].decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], associated_data)
        except SealBroken:
            raise
        except Exception:
            # the cause could hold the value: only the fact leaves this module
            raise SealBroken("the value does not open") from None

    def is_current(self, sealed: str) -> bool:
        """Whether `sealed` names the current key; if not, open it and seal it again."""
        return sealed.startswith(f"{_VERSION}.{self._current_key_id}.")


def _bind(header: str, context: bytes) -> bytes:
    if not context:
        raise ValueError("a sealed value needs a context")
    # the version and the key id are authenticated too
    return header.encode("utf-8", "surrogatepass") + context
