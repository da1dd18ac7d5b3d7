"""Key listing: which signing keys there are, and what each is good for now."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import SigningAlgorithm
from authapi.models import SigningKey
from authapi.repositories import signing_keys
from authapi.runtime import Runtime
from authapi.services.signing_keys import find_current, find_shared_key


class KeyState(StrEnum):
    NEXT = "next"  # published, so that verifiers know it before it signs
    CURRENT = "current"  # signs
    RETIRED = "retired"  # still verifies
    EXPIRED = "expired"  # of no more use


@dataclass(frozen=True, slots=True)
class ListedKey:
    """One key; `activates_at` is None for the shared secret of HS256, which is a setting."""

    kid: str
    algorithm: str
    state: KeyState
    activates_at: datetime | None


async def list_keys(db: AsyncSession, runtime: Runtime) -> list[ListedKey]:
    """Every key, the newest first; none of them is opened."""
    now = clock.utc_now()
    rows = await signing_keys.list_all(db)
    current = find_current([row for row in rows if not _is_expired(row, now)], now)
    shared = find_shared_key(runtime)
    shared_signs = shared is not None and (
        current is None or runtime.settings.access_token.algorithm is SigningAlgorithm.HS256
    )
    listed = []
    if shared is not None:
        state = KeyState.CURRENT if shared_signs else KeyState.RETIRED
        listed.append(ListedKey(shared.kid, shared.algorithm.value, state, None))
    for row in rows:
        if _is_expired(row, now):
            state = KeyState.EXPIRED
        elif row.activates_at > now:
            state = KeyState.NEXT
        elif row is current and not shared_signs:
            state = KeyState.CURRENT
        else:
            state = KeyState.RETIRED
        listed.append(ListedKey(row.kid, row.algorithm, state, row.activates_at))
    return listed


def _is_expired(row: SigningKey, now: datetime) -> bool:
    return row.verifies_until is not None and row.verifies_until <= now
