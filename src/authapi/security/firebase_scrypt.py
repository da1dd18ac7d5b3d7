"""Firebase Authentication's own scrypt: verified, never made; who logs in with one gets another hash.

The scrypt key of the password does not stand in the hash: it encrypts the project's signer key, and that
ciphertext does. Everything a project adds travels in the text of the hash, all of it in base64:

    $fbscrypt$v=1,n=<memory cost>,r=<rounds>,p=1,ss=<salt separator>,sk=<signer key>$<salt>$<password hash>

Source: github.com/firebase/scrypt. Other services that take accounts over from Firebase write the same text.
"""

import base64
import hashlib
import hmac
import re
from typing import ClassVar, Self

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

_PREFIX = "$fbscrypt$"
_FORM = re.compile(
    r"\$fbscrypt\$v=1,n=(?P<n>[1-9]\d?),r=(?P<r>[1-9]\d?),p=1,ss=(?P<ss>[^,$]*),sk=(?P<sk>[^,$]+)"
    r"\$(?P<salt>[^$]+)\$(?P<hash>[^$]+)",
    re.ASCII,
)
_KEY_BYTES = 32


class FirebaseScrypt:
    """A parsed hash, and as a class what passlib asks of a hash handler.

    scrypt runs with N = 2**rounds; passlib's word for the exponent is `rounds`, Firebase's "memory cost".
    """

    name: ClassVar = "firebase_scrypt"
    setting_kwds: ClassVar[tuple[str, ...]] = ()
    context_kwds: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, *, rounds: int, block_size: int, salt: bytes, signer_key: bytes, checksum: bytes
    ) -> None:
        self.rounds = rounds
        self.block_size = block_size
        self.salt = salt
        self.signer_key = signer_key
        self.checksum = checksum

    @classmethod
    def using(cls, **_options: object) -> type[Self]:
        """A copy of the handler, which passlib marks as it likes."""
        return type(cls.__name__, (cls,), {})

    @classmethod
    def identify(cls, stored: str) -> bool:
        """Whether a text calls itself such a hash."""
        return stored.startswith(_PREFIX)

    @classmethod
    def from_string(cls, stored: str) -> Self:
        """Parse a hash; raises ValueError for anything incomplete."""
        found = _FORM.fullmatch(stored)
        if found is None:
            raise ValueError("not a complete hash")
        separator, signer_key, salt, checksum = (
            base64.b64decode(found[name], validate=True) for name in ("ss", "sk", "salt", "hash")
        )
        if len(signer_key) != len(checksum):
            raise ValueError("the hash is as long as the signer key")
        return cls(
            rounds=int(found["n"]),
            block_size=int(found["r"]),
            salt=salt + separator,
            signer_key=signer_key,
            checksum=checksum,
        )

    @classmethod
    def verify(cls, secret: str, stored: str) -> bool:
        """Whether the password is the one; raises ValueError for a hash that does not parse."""
        parsed = cls.from_string(stored)
        key = hashlib.scrypt(
            secret.encode(),
            salt=parsed.salt,
            n=1 << parsed.rounds,
            r=parsed.block_size,
            p=1,
            # What the algorithm needs and a little more; OpenSSL's own limit is 32 MiB.
            maxmem=(parsed.block_size << parsed.rounds) * 128 + (1 << 20),
            dklen=_KEY_BYTES,
        )
        # The zero counter is Firebase's: every salt makes a key of its own, so none meets it twice.
        cipher = Cipher(AES(key), CTR(bytes(16))).encryptor()
        return hmac.compare_digest(cipher.update(parsed.signer_key) + cipher.finalize(), parsed.checksum)

    @classmethod
    def hash(cls, _secret: str) -> str:
        """Raises TypeError: nobody should make more of them."""
        raise TypeError("this scheme only verifies")
