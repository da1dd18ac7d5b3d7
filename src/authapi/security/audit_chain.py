"""The hash chain over audit events: what was removed, changed or moved no longer fits (ASVS 16.4.2)."""

import hmac
import json
from typing import Any

GENESIS = b"\0" * 32


def personal_hash(key: bytes, event_id: bytes, members: dict[str, Any]) -> bytes:
    """A keyed digest of what tells who and from where; it stands for them after they were erased."""
    return hmac.digest(key, b"personal\0" + event_id + _canonical(members), "sha256")


def chain_hash(key: bytes, previous: bytes, members: dict[str, Any]) -> bytes:
    """The hash of an event: over its members, its place, and the hash of the event before it.

    Keyed, so that whoever can write to the database cannot make the chain fit again.
    """
    return hmac.digest(key, b"event\0" + previous + _canonical(members), "sha256")


def _canonical(members: dict[str, Any]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
