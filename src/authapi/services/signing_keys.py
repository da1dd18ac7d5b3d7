"""The installation's signing keys: made at the first start, loaded into every process."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import AuditAction, SigningAlgorithm
from authapi.models import SigningKey as SigningKeyRow
from authapi.repositories import signing_keys
from authapi.runtime import Runtime
from authapi.security.sealing import Sealer
from authapi.security.signing_keys import Algorithm, SigningKey, generate_signing_key
from authapi.services import audit

SEALING_PURPOSE = "signing-keys"


async def load_keys(db: AsyncSession, runtime: Runtime) -> None:
    """Give the token authority its keys; creates the first one where none of the algorithm exists.

    HS256 has no stored key: its secret is a setting. Raises `security.sealing.SealBroken` if a key was
    sealed under a secret key that is no longer configured.
    """
    settings = runtime.settings.access_token
    if settings.algorithm is SigningAlgorithm.HS256 and settings.secret is not None:
        shared = SigningKey.from_shared_secret(settings.secret.get_secret_value().encode())
        runtime.tokens.use_keys(signing=shared, verifying=[shared.verifying_key])
        return
    algorithm = Algorithm(settings.algorithm.value)
    await signing_keys.lock(db)
    rows = await signing_keys.list_all(db)
    if not any(row.algorithm == algorithm and row.verifies_until is None for row in rows):
        rows.insert(0, await _create_key(db, runtime, algorithm=algorithm, activates_at=clock.utc_now()))
    keys = [(row, _open_key(runtime, row)) for row in rows if row.verifies_until is None]
    signing = next(key for row, key in keys if row.algorithm == algorithm)
    runtime.tokens.use_keys(signing=signing, verifying=[key.verifying_key for _, key in keys])


async def _create_key(
    db: AsyncSession, runtime: Runtime, *, algorithm: Algorithm, activates_at: datetime
) -> SigningKeyRow:
    key = generate_signing_key(algorithm)
    row = SigningKeyRow(
        kid=key.kid,
        algorithm=algorithm.value,
        sealed_private_key=_sealer(runtime).seal(key.private_pem(), context=key.kid.encode()),
        activates_at=activates_at,
    )
    await signing_keys.add(db, row)
    await audit.record(db, AuditAction.SIGNING_KEY_CREATED, details={"kid": key.kid, "algorithm": algorithm})
    return row


def _open_key(runtime: Runtime, row: SigningKeyRow) -> SigningKey:
    pem = _sealer(runtime).open(row.sealed_private_key, context=row.kid.encode())
    return SigningKey.from_private_pem(pem, Algorithm(row.algorithm))


def _sealer(runtime: Runtime) -> Sealer:
    return Sealer(runtime.derived_keys, SEALING_PURPOSE)
