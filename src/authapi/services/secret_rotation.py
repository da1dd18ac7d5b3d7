"""Secret rotation: everything that is stored sealed is sealed again under the current secret key."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from authapi.enums import AuditAction
from authapi.runtime import Runtime
from authapi.services import audit
from authapi.services.mail_outbox import reseal_mails
from authapi.services.second_factors import reseal_totp_secrets
from authapi.services.signing_keys import reseal_keys

Resealer = Callable[[AsyncSession, Runtime], Awaitable[tuple[int, int]]]
"""Seals one kind of value; returns how many were not current, and of how many."""

# Whoever stores sealed values of a new kind adds them here.
RESEALERS: Mapping[str, Resealer] = {
    "signing keys": reseal_keys,
    "authenticator apps": reseal_totp_secrets,
    "mails": reseal_mails,
}


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many values of a kind were sealed again, and how many there are."""

    kind: str
    changed: int
    total: int


async def reseal_everything(db: AsyncSession, runtime: Runtime) -> list[Resealed]:
    """Seal every stored secret under the current secret key, all or none; running it twice does no harm.

    Refresh tokens are not stored, so nothing can be done for them: those of a previous secret key work as
    long as that is configured. Raises `InvalidSettings` for a value that no configured secret key opens.
    """
    results = [Resealed(kind, *await reseal(db, runtime)) for kind, reseal in RESEALERS.items()]
    changed = {result.kind: result.changed for result in results if result.changed}
    if changed:
        await audit.record(db, AuditAction.SECRETS_RESEALED, details={"resealed": changed})
    return results
