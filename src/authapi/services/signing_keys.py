"""The installation's signing keys: stored sealed, loaded into every process, each with its time.

A key is `next` until `activates_at`: published, so that every verifier knows it before it signs. Then it is
`current`, the one that was activated last, until a successor is. Then it is `retired` and still verifies
until `verifies_until`, when the last token that it can have signed has expired; after that nobody loads it.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import AuditAction, SigningAlgorithm
from authapi.models import SigningKey as SigningKeyRow
from authapi.repositories import signing_keys
from authapi.runtime import Runtime
from authapi.security.sealing import SealBroken, Sealer
from authapi.security.signing_keys import Algorithm, SigningKey, generate_signing_key
from authapi.services import audit
from authapi.settings import InvalidSettings
from authapi.token_authority import TimedKey

SEALING_PURPOSE = "signing-keys"
_ALWAYS = datetime.min.replace(tzinfo=UTC)


async def load_keys(db: AsyncSession, runtime: Runtime) -> list[SigningKeyRow]:
    """Give the token authority every key that verifies; returns the stored ones, the latest first.

    The shared secret of HS256 is a setting, not a row. Under HS256 it signs and the rows verify what they
    signed before; otherwise the latest activated row signs, and a shared secret that is still configured
    verifies, or signs until the first row is activated. Raises `InvalidSettings` if a key was sealed under a
    secret key that is no longer configured.
    """
    rows = await signing_keys.list_verifying(db, now=clock.utc_now())
    opened = {timed.key.kid: timed.key for timed in runtime.tokens.keys}
    keys = [
        TimedKey(opened.get(row.kid) or _open_key(runtime, row), row.activates_at, row.verifies_until)
        for row in rows
    ]
    shared = find_shared_key(runtime)
    if shared is not None:
        signs_first = runtime.settings.access_token.algorithm is SigningAlgorithm.HS256
        keys.insert(0 if signs_first else len(keys), TimedKey(shared, _ALWAYS, None))
    runtime.tokens.use_keys(keys)
    return rows


def find_current(rows: Sequence[SigningKeyRow], now: datetime) -> SigningKeyRow | None:
    """The stored key that signs: of those that verify, the latest first, the one that was activated last."""
    return next((row for row in rows if row.activates_at <= now), None)


def find_next(rows: Sequence[SigningKeyRow], now: datetime) -> SigningKeyRow | None:
    """The stored key that is published and does not sign yet."""
    return next((row for row in rows if row.activates_at > now), None)


def find_shared_key(runtime: Runtime) -> SigningKey | None:
    """The key of the configured HS256 secret."""
    secret = runtime.settings.access_token.secret
    return None if secret is None else SigningKey.from_shared_secret(secret.get_secret_value().encode())


async def generate_key(runtime: Runtime) -> SigningKey:
    """A new key of the configured algorithm, made in a thread: RSA takes up to a second of computing."""
    algorithm = Algorithm(runtime.settings.access_token.algorithm.value)
    return await asyncio.to_thread(generate_signing_key, algorithm)


async def store_key(
    db: AsyncSession, runtime: Runtime, *, key: SigningKey, activates_at: datetime, reason: str
) -> SigningKeyRow:
    """Insert a key, sealed, and record why it was made."""
    row = SigningKeyRow(
        kid=key.kid,
        algorithm=key.algorithm.value,
        sealed_private_key=_sealer(runtime).seal(key.private_pem(), context=key.kid.encode()),
        activates_at=activates_at,
    )
    await signing_keys.add(db, row)
    details = {"kid": key.kid, "algorithm": key.algorithm.value, "activates_at": activates_at.isoformat()}
    await audit.record(db, AuditAction.SIGNING_KEY_CREATED, reason=reason, details=details)
    return row


async def reseal_keys(db: AsyncSession, runtime: Runtime) -> tuple[int, int]:
    """Seal every key that verifies under the current secret key; returns how many were not, and of how many.

    Raises `InvalidSettings` as `load_keys` does.
    """
    await signing_keys.lock(db)
    sealer = _sealer(runtime)
    rows = await signing_keys.list_verifying(db, now=clock.utc_now())
    outdated = [row for row in rows if not sealer.is_current(row.sealed_private_key)]
    for row in outdated:
        row.sealed_private_key = sealer.seal(_unseal(runtime, row), context=row.kid.encode())
    await db.flush()
    return len(outdated), len(rows)


def _open_key(runtime: Runtime, row: SigningKeyRow) -> SigningKey:
    return SigningKey.from_private_pem(_unseal(runtime, row), Algorithm(row.algorithm))


def _unseal(runtime: Runtime, row: SigningKeyRow) -> bytes:
    try:
        return _sealer(runtime).open(row.sealed_private_key, context=row.kid.encode())
    except SealBroken:
        raise InvalidSettings(
            [
                "AUTHAPI_SECRET_KEY: the stored signing keys were sealed under another secret key; put that "
                "one back, or into AUTHAPI_SECRET_KEY_PREVIOUS; if it is lost, run: "
                "authapi keys rotate --compromised"
            ]
        ) from None


def _sealer(runtime: Runtime) -> Sealer:
    return Sealer(runtime.derived_keys, SEALING_PURPOSE)
