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

_VERSION = b"\x01"
_BODY_CHARACTERS = 76
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


@dataclass(frozen=True, slots=True)
class DeviceTokenParts:
    """What a genuine device token says: the device, and how often it had logged in before."""

    device_id: UUID
    generation: int


class _GenerationCodec:
    """Computed tokens: version (1 byte), id (16), generation (8, big-endian), HMAC-SHA256 (32) over them.

    The same pair gives the same token as long as the secret key stays. Purposes have keys of their own, so a
    token of one opens no door of another.
    """

    def __init__(self, keys: DerivedKeys, *, prefix: str, purpose: str) -> None:
        self._prefix = prefix
        self._current = keys.current(purpose)
        self._all = keys.all(purpose)

    def issue(self, id: UUID, generation: int) -> str:
        if not 0 <= generation <= _MAX_GENERATION:
            raise ValueError("a generation lies between 0 and 2**63 - 1")
        signed = _VERSION + id.bytes + generation.to_bytes(8, "big")
        return self._prefix + base64url.encode(signed + _mac(self._current, signed))

    def parse(self, raw: str) -> tuple[UUID, int]:
        if len(raw) != len(self._prefix) + _BODY_CHARACTERS or not raw.startswith(self._prefix):
            raise InvalidOpaqueToken("not a token of this kind")
        try:
            body = base64url.decode(raw.removeprefix(self._prefix))
        except ValueError:
            raise InvalidOpaqueToken("not canonical base64url") from None
        signed, mac = body[:-32], body[-32:]
        # every key is tried, so that the time does not tell which one matched
        matches = [hmac.compare_digest(_mac(key, signed), mac) for key in self._all]
        if not any(matches) or signed[:1] != _VERSION:
            raise InvalidOpaqueToken("not ours")
        return UUID(bytes=signed[1:17]), int.from_bytes(signed[17:], "big")


class RefreshTokenCodec:
    """Issues and reads refresh tokens (`authapi_rt_…`) that need no row of their own.

    The session row holds the generation that is valid now: a lower one is a reuse. A client that lost the
    reply can ask again, because the token of a generation can be computed again.
    """

    def __init__(self, keys: DerivedKeys) -> None:
        self._codec = _GenerationCodec(keys, prefix="authapi_rt_", purpose="refresh-token")

    def issue(self, session_id: UUID, generation: int) -> str:
        """The refresh token of this session and generation; ValueError outside 0 to 2**63 - 1."""
        return self._codec.issue(session_id, generation)

    def parse(self, raw: str) -> RefreshTokenParts:
        """The parts of a token that was issued under the current or a previous secret key.

        Raises InvalidOpaqueToken for everything else.
        """
        return RefreshTokenParts(*self._codec.parse(raw))


class DeviceTokenCodec:
    """Issues and reads device tokens (`authapi_dt_…`): they name a device that has logged in before."""

    def __init__(self, keys: DerivedKeys) -> None:
        self._codec = _GenerationCodec(keys, prefix="authapi_dt_", purpose="device-token")

    def issue(self, device_id: UUID, generation: int) -> str:
        """The token of this device and generation; ValueError outside 0 to 2**63 - 1."""
        return self._codec.issue(device_id, generation)

    def parse(self, raw: str) -> DeviceTokenParts:
        """The parts of a genuine token; raises InvalidOpaqueToken for everything else."""
        return DeviceTokenParts(*self._codec.parse(raw))


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")
