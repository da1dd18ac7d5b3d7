"""Peppers: secrets outside of the database that password hashes are keyed with."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

MIN_PEPPER_BYTES: Final = 14  # 112 bits, the least that SP 800-63B allows for the key of a keyed hash


@dataclass(frozen=True)
class PepperRing:
    """The pepper for new hashes and those that old hashes may still need; `current=None` phases peppers out.

    Raises ValueError for a pepper under 14 bytes or two peppers whose short ids collide.
    """

    current: bytes | None = field(repr=False)
    previous: Sequence[bytes] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        peppers = {*self.previous, *([] if self.current is None else [self.current])}
        if any(len(pepper) < MIN_PEPPER_BYTES for pepper in peppers):
            raise ValueError(f"a pepper needs at least {MIN_PEPPER_BYTES} bytes")
        by_id = {self.key_id(pepper): pepper for pepper in peppers}
        if len(by_id) != len(peppers):
            raise ValueError("two peppers share a key id; generate another one")
        object.__setattr__(self, "_by_id", by_id)

    @staticmethod
    def key_id(pepper: bytes) -> str:
        """Return the eight hex digits that name a pepper inside stored hashes."""
        return hmac.digest(pepper, b"authapi pepper key id", "sha256").hex()[:8]

    def find(self, key_id: str) -> bytes | None:
        """Return the pepper with this id, or None."""
        by_id: dict[str, bytes] = self.__dict__["_by_id"]
        return by_id.get(key_id)
