"""Key listing: which signing keys there are, and what each is good for now."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import SigningAlgorithm
from authapi.repositories import signing_keys
from authapi.runtime import Runtime
from authapi.security.signing_keys import SigningKey


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
    settings = runtime.settings.access_token
    now = clock.utc_now()
    listed = []
    signs: str | None = None
    if settings.algorithm is SigningAlgorithm.HS256 and settings.secret is not None:
        signs = SigningKey.from_shared_secret(settings.secret.get_secret_value().encode()).kid
        listed.append(ListedKey(signs, settings.algorithm.value, KeyState.CURRENT, None))
    for row in await signing_keys.list_all(db):
        if row.activates_at > now:
            state = KeyState.NEXT
        elif row.verifies_until is not None and row.verifies_until <= now:
            state = KeyState.EXPIRED
        elif signs is None and row.algorithm == settings.algorithm:
            state, signs = KeyState.CURRENT, row.kid
        else:
            state = KeyState.RETIRED
        listed.append(ListedKey(row.kid, row.algorithm, state, row.activates_at))
    return listed
