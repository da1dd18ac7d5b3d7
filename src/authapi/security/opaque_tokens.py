"""Tokens that only authapi can read: random one-time tokens, and refresh tokens that are computed.

Every token carries a prefix, so that secret scanners recognise a leaked one.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from uuid import UUID

from authapi.security import base64url
from authapi.security.derived_keys import DerivedKeys

_PREFIX = re.compile(r"[a-z]+(?:_[a-z]+)*_")

_REFRESH_PREFIX = "authapi_rt_"
_REFRESH_PURPOSE = "refresh-token"
_REFRESH_VERSION = b"\x01"
_REFRESH_CHARACTERS = len(_REFRESH_PREFIX) + 76
_MAX_GENERATION = 2**63 - 1


class InvalidOpaqueToken(Exception):
    """A token that we did not make; the message never holds it."""


def generate(prefix: str) -> tuple[str, bytes]:
    """A new random token and its digest: the caller hands out the first and stores the second.

    256 bits from the operating system (ASVS 7.2.3, 11.5.1). Raises ValueError unless `prefix` is lower case
    words, each followed by an underscore.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("a prefix is lower case words, each followed by an underscore")
    raw = prefix + secrets.token_urlsafe(32)
    return raw, digest(raw)


def digest(raw: str) -> bytes:
    """The SHA-256 digest (32 bytes) that stands for `raw` in the database; defined for every text.

    A fast hash is enough for 256 random bits, and a look-up by digest leaks no timing of the token itself.
    """
    # surrogatepass: text from a JSON escape such as \\ud800 must find nothing, not fail
    return hashlib.sha256(raw.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class RefreshTokenParts:
    """What a genuine refresh token says: its session, and how often that had been rotated before."""

    session_id: UUID
    generation: int


class RefreshTokenCodec:
    """Issues and reads refresh tokens that need no row of their own.

    A token is `authapi_rt_` and base64url of version (1 byte), session id (16), generation (8, big-endian)
    and an HMAC-SHA256 (32) over them. The session row holds the generation that is valid now: a lower one is
    a reuse. The same pair gives the same token as long as the secret key stays, which lets a client that lost
    the reply ask again.
    """

    def __init__(self, keys: DerivedKeys) -> None:
        self._current = keys.current(_REFRESH_PURPOSE)
        self._all = keys.all(_REFRESH_PURPOSE)

    def issue(self, session_id: UUID, generation: int) -> str:
        """The refresh token of this session and generation; ValueError outside 0 to 2**63 - 1."""
        if not 0 <= generation <= _MAX_GENERATION:
            raise ValueError("a generation lies between 0 and 2**63 - 1")
        signed = _REFRESH_VERSION + session_id.bytes + generation.to_bytes(8, "big")
        return _REFRESH_PREFIX + base64url.encode(signed + _mac(self._current, signed))

    def parse(self, raw: str) -> RefreshTokenParts:
        """The parts of a token that was issued under the current or a previous secret key.

        Raises InvalidOpaqueToken for everything else.
        """
        if len(raw) != _REFRESH_CHARACTERS or not raw.startswith(_REFRESH_PREFIX):
            raise InvalidOpaqueToken("not a refresh token")
        try:
            body = base64url.decode(raw.removeprefix(_REFRESH_PREFIX))
        except ValueError:
            raise InvalidOpaqueToken("not canonical base64url") from None
        signed, mac = body[:-32], body[-32:]
        # every key is tried, so that the time does not tell which one matched
        matches = [hmac.compare_digest(_mac(key, signed), mac) for key in self._all]
        if not any(matches) or signed[:1] != _REFRESH_VERSION:
            raise InvalidOpaqueToken("not ours")
        return RefreshTokenParts(UUID(bytes=signed[1:17]), int.from_bytes(signed[17:], "big"))


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")
