"""Password hashing: bcrypt over HMAC-SHA-256, an optional pepper, and the hashes that users bring along.

Everything here is synchronous and burns CPU on purpose; callers run it in the hashing pool.
"""

import base64
import hashlib
import hmac
import logging
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from passlib.context import CryptContext
from passlib.registry import get_crypt_handler, register_crypt_handler

from authapi.security.firebase_scrypt import FirebaseScrypt
from authapi.security.peppers import PepperRing

__all__ = [
    "MAX_PASSWORD_BYTES",
    "PasswordHasher",
    "PasswordNotHashable",
    "PasswordTooLong",
    "PepperRing",
    "UnusableHash",
    "Verification",
    "normalise",
]

logger = logging.getLogger(__name__)
# passlib 1.7.4 asks bcrypt for an attribute that is gone since 4.1 and logs the traceback as a warning.
logging.getLogger("passlib.handlers.bcrypt").setLevel(logging.ERROR)
register_crypt_handler(FirebaseScrypt)

MAX_PASSWORD_BYTES: Final = 1024

_DEFAULT_SCHEME: Final = "bcrypt_sha256"
_BCRYPT_FAMILY: Final = frozenset({"bcrypt_sha256", "bcrypt", "django_bcrypt_sha256"})
_MAX_STORED_LENGTH: Final = 1024
_MAX_FOREIGN_BCRYPT_ROUNDS: Final = 14

# A stored hash names its own cost, and an import or a tampered row can name any: what would hold a worker
# for more than about two seconds, or take more than 256 MiB, is refused instead of computed.
_IS_AFFORDABLE: Final[Mapping[str, Callable[[Any], bool]]] = {
    "argon2": lambda h: (
        h.memory_cost <= 1 << 18 and h.memory_cost * h.rounds <= 1 << 20 and h.parallelism <= 16
    ),
    "scrypt": lambda h: (h.block_size << h.rounds) * h.parallelism <= 1 << 20,
    "firebase_scrypt": lambda h: h.block_size << h.rounds <= 1 << 20,
    "pbkdf2_sha1": lambda h: h.rounds <= 2_500_000,
    "pbkdf2_sha256": lambda h: h.rounds <= 2_500_000,
    "pbkdf2_sha512": lambda h: h.rounds <= 2_500_000,
    "django_pbkdf2_sha1": lambda h: h.rounds <= 2_500_000,
    "django_pbkdf2_sha256": lambda h: h.rounds <= 2_500_000,
    "phpass": lambda h: h.rounds <= 19,
    "sha256_crypt": lambda h: h.rounds <= 700_000,
    "sha512_crypt": lambda h: h.rounds <= 700_000,
}
_FIXED_COST: Final = (
    "atlassian_pbkdf2_sha1",
    "md5_crypt",
    "apr_md5_crypt",
    "django_salted_sha1",
    "ldap_salted_sha1",
    "ldap_salted_sha256",
    "ldap_salted_sha512",
    "ldap_salted_md5",
)
_FOREIGN: Final = ("bcrypt", "django_bcrypt_sha256", *_IS_AFFORDABLE, *_FIXED_COST)

# The same hash in another system's wrapping: LDAP, Django (passlib knows no argon2id of it), Spring Security.
_WRAPPINGS: Final = (
    ("{CRYPT}$", "$"),
    ("{bcrypt}$", "$"),
    ("{argon2}$", "$"),
    ("bcrypt$$", "$"),
    ("argon2$argon2", "$argon2"),
    ("{PBKDF2}", "$pbkdf2$"),
    ("{PBKDF2-SHA256}", "$pbkdf2-sha256$"),
    ("{PBKDF2-SHA512}", "$pbkdf2-sha512$"),
)
_PEPPERED: Final = re.compile(r"\$authapi-pepper\$v=([0-9a-f]{8})(\$.*)", re.ASCII)
# Well-formed, of any cost, and matched by no password: a salt and a digest of zero bits.
_DUMMY: Final = "$bcrypt-sha256$v=2,t=2b,r={rounds}$" + "." * 22 + "$" + "." * 31


class PasswordNotHashable(ValueError):
    """The password cannot be encoded as UTF-8 (lone surrogates)."""


class PasswordTooLong(PasswordNotHashable):
    """The password is longer than `MAX_PASSWORD_BYTES`; it was refused without hashing it."""


class UnusableHash(ValueError):
    """A stored hash cannot be verified here; the text says why, without repeating it."""


def normalise(password: str) -> str:
    """Return the NFKC form, so that one password typed on two keyboards is one password (SP 800-63B 3.1.1.2).

    Raises PasswordTooLong above 1,024 UTF-8 bytes, before or after normalising, and PasswordNotHashable for
    lone surrogates.
    """
    # Before any work: every code point takes at least one byte.
    if len(password) > MAX_PASSWORD_BYTES:
        raise PasswordTooLong("a password may have 1,024 bytes at most")
    text = unicodedata.normalize("NFKC", password)
    try:
        size = max(len(password.encode()), len(text.encode()))
    except UnicodeEncodeError:
        # The cause is cut off: it carries the password.
        raise PasswordNotHashable("a password must be valid Unicode text") from None
    if size > MAX_PASSWORD_BYTES:
        raise PasswordTooLong("a password may have 1,024 bytes at most")
    return text


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of `PasswordHasher.verify`; `replacement` is to be stored instead of the old hash."""

    matches: bool
    replacement: str | None = field(default=None, repr=False)


_NO_MATCH: Final = Verification(matches=False)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored hash that may be computed; `hash` is its form without pepper prefix and foreign wrapping."""

    scheme: str
    hash: str
    pepper: bytes | None
    bcrypt_rounds: int | None


class PasswordHasher:
    """Hashes and verifies passwords; safe to share between threads.

    New hashes are bcrypt_sha256 with 2**rounds iterations, keyed with the current pepper if there is one
    (ASVS 11.4.2, SP 800-63B 3.1.1.2). Every other scheme in `_FOREIGN` verifies and is then replaced.
    Raises ValueError for rounds outside 4 to 31.
    """

    def __init__(self, *, rounds: int, pepper: PepperRing | None = None) -> None:
        if not 4 <= rounds <= 31:
            raise ValueError("bcrypt takes 4 to 31 rounds")
        self._rounds = rounds
        self._peppers = pepper or PepperRing(current=None)
        self._max_bcrypt_rounds = max(rounds, _MAX_FOREIGN_BCRYPT_ROUNDS)
        _load_backends()
        self._context = CryptContext(
            schemes=[_DEFAULT_SCHEME, *_FOREIGN],
            deprecated="auto",
            bcrypt_sha256__default_rounds=rounds,
            bcrypt_sha256__min_rounds=rounds,
        )

    def hash(self, password: str) -> str:
        """Return a new salted hash; raises PasswordTooLong or PasswordNotHashable."""
        return self._hash(normalise(password))

    def verify(self, password: str, stored: str) -> Verification:
        """Tell whether the password is the stored one, whole and exact (ASVS 6.2.8); never raises.

        `replacement` comes with a match whose stored hash is foreign, cheaper than configured or under
        another pepper, and costs one more hash. A mismatch never takes less work than `verify_dummy`,
        whatever is stored. Imported plain bcrypt hashes know only the first 72 bytes of their password.
        """
        try:
            text = normalise(password)
        except PasswordNotHashable:
            return _NO_MATCH
        try:
            target = self._read(stored)
        except UnusableHash as reason:
            logger.warning("a stored hash %s", reason)
            target = None
        forms = _forms(password, text, target)
        matches = None if target is None else self._matches(forms, target)
        if target is None or not matches:
            hashed = 0 if matches is None else len(forms)
            self._top_up(password, text, hashed=hashed, rounds=target.bcrypt_rounds if target else None)
            return _NO_MATCH
        if target.pepper == self._peppers.current and not self._context.needs_update(target.hash):
            return Verification(matches=True)
        return Verification(matches=True, replacement=self._hash(text))

    def verify_dummy(self, password: str) -> None:
        """Do the work of a `verify` that fails, for identifiers without an account."""
        try:
            text = normalise(password)
        except PasswordNotHashable:
            return
        self._top_up(password, text, hashed=0, rounds=None)

    def scheme_of(self, stored: str) -> str:
        """Return the scheme of a hash that `verify` would compute; raises UnusableHash for any other."""
        return self._read(stored).scheme

    def identify(self, stored: str) -> str | None:
        """Return the scheme of a stored hash, or None if it is unknown, malformed or too costly."""
        try:
            return self.scheme_of(stored)
        except UnusableHash:
            return None

    def _hash(self, text: str) -> str:
        pepper = self._peppers.current
        prefix = "" if pepper is None else f"$authapi-pepper$v={PepperRing.key_id(pepper)}"
        hashed: str = self._context.hash(_keyed(text, pepper))
        return prefix + hashed

    def _matches(self, forms: Collection[str], target: _Stored) -> bool | None:
        """Compute the stored hash; None if passlib refused to, and so spent no time on it."""
        try:
            return any(self._context.verify(form, target.hash) for form in forms)
        except Exception as exc:
            # passlib meets NUL bytes, odd salts and missing memory with various errors; each is a "no".
            logger.warning("a stored %s hash could not be verified: %s", target.scheme, type(exc).__name__)
            return None

    def _read(self, stored: str) -> _Stored:
        pepper = None
        if found := _PEPPERED.fullmatch(stored):
            pepper = self._peppers.find(found[1])
            if pepper is None:
                raise UnusableHash(f"needs the pepper {found[1]}, which is not configured")
            stored = found[2]
        for wrapped, plain in _WRAPPINGS:
            if stored.startswith(wrapped):
                stored = plain + stored.removeprefix(wrapped)
                break
        scheme, parsed = self._parse(stored)
        # Only our own hashes are ever keyed.
        if scheme is None or (pepper is not None and scheme != _DEFAULT_SCHEME):
            raise UnusableHash("is not complete, or of no known scheme")
        bcrypt_rounds = parsed.rounds if scheme in _BCRYPT_FAMILY else None
        affordable = _IS_AFFORDABLE.get(scheme)
        if (bcrypt_rounds or 0) > self._max_bcrypt_rounds or (affordable and not affordable(parsed)):
            raise UnusableHash(f"of {scheme} asks for more work than is allowed")
        return _Stored(scheme=scheme, hash=stored, pepper=pepper, bcrypt_rounds=bcrypt_rounds)

    def _parse(self, stored: str) -> tuple[str | None, Any]:
        """Return scheme and passlib handler of a complete hash, (None, None) otherwise; computes nothing."""
        if len(stored) > _MAX_STORED_LENGTH:
            return None, None
        try:
            scheme = self._context.identify(stored, required=True)
            parsed: Any = self._context.handler(scheme).from_string(stored)
        except Exception:
            return None, None
        return (scheme, parsed) if parsed.checksum else (None, None)

    def _top_up(self, password: str, text: str, *, hashed: int, rounds: int | None) -> None:
        """Bring the work of a failed verify up to that for an unknown user, or time would tell them apart.

        `hashed` forms of the password were tried with bcrypt at `rounds`; None means another scheme. Every failed
        verify costs as much as one of an imported hash, for which the password is also tried as it was typed.
        """
        for number in range(len({password, text})):
            if number >= hashed or rounds is None:
                self._burn(text, rounds=self._rounds)
                continue
            # 2**r + 2**r + 2**(r+1) + ... + 2**(R-1) is exactly 2**R.
            for missing in range(rounds, self._rounds):
                self._burn(text, rounds=missing)

    def _burn(self, text: str, *, rounds: int) -> None:
        self._context.verify(_keyed(text, self._peppers.current), _DUMMY.format(rounds=rounds))


def _forms(password: str, text: str, target: _Stored | None) -> Collection[str]:
    """The forms of a password whose hash the stored one may be."""
    if target is None:
        return ()
    if target.scheme == _DEFAULT_SCHEME:
        return (_keyed(text, target.pepper),)
    # Where a foreign hash was made, the password may not have been normalised.
    return {text, password}


def _load_backends() -> None:
    """Load and probe what computes each scheme; at its first use the first login would pay for it.

    Two logins at once, even: while one thread puts a backend into its place, passlib fails the other.
    """
    for scheme in ("sha256_crypt", "sha512_crypt"):
        # libc's crypt() would hold the GIL for the whole hash and stop the event loop with it.
        get_crypt_handler(scheme).set_backend("builtin")
    for scheme in (_DEFAULT_SCHEME, *_FOREIGN):
        handler = get_crypt_handler(scheme)
        if hasattr(handler, "set_backend"):
            handler.set_backend()


def _keyed(text: str, pepper: bytes | None) -> str:
    if pepper is None:
        return text
    return base64.b64encode(hmac.digest(pepper, text.encode(), hashlib.sha256)).decode()
