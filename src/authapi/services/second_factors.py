"""Second factors: enrolling an authenticator app, its recovery codes, and checking what they show."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import AuditAction, Factor, Outcome
from authapi.models import TotpCredential, User
from authapi.repositories import second_factors
from authapi.runtime import Runtime
from authapi.security import totp
from authapi.security.sealing import SealBroken, Sealer
from authapi.services import audit, login_throttle
from authapi.settings import InvalidSettings

SEALING_PURPOSE = "totp-secrets"


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What an authenticator app needs, shown this once: the secret, as text, as an address, as a picture."""

    secret: str
    otpauth_uri: str
    qr_svg: str


async def begin_enrollment(db: AsyncSession, runtime: Runtime, *, user: User) -> Enrollment:
    """Make a secret for an authenticator app; it is no factor until a code confirms it.

    Raises `FactorExists`.
    """
    if await second_factors.has_confirmed_totp(db, user_id=user.id):
        raise errors.FactorExists
    secret = totp.generate_secret()
    sealed = _sealer(runtime).seal(secret.encode(), context=user.id.bytes)
    await second_factors.replace_unconfirmed_totp(db, TotpCredential(user_id=user.id, sealed_secret=sealed))
    issuer = urlsplit(runtime.settings.base_url).hostname or "authapi"
    uri = totp.provisioning_uri(secret, account=user.email, issuer=issuer)
    return Enrollment(secret, uri, totp.qr_svg(uri))


async def confirm_enrollment(db: AsyncSession, runtime: Runtime, *, user: User, code: str) -> list[str]:
    """Make the authenticator app a factor; returns its recovery codes, shown this once.

    Raises `InvalidCode`, `TooManyAttempts`, `FactorNotFound` without an enrollment that waits.
    """
    credential = await second_factors.find_totp(db, user_id=user.id)
    if credential is None or credential.confirmed_at is not None:
        raise errors.FactorNotFound
    attempt = await login_throttle.begin_code(db, runtime, user_id=user.id)
    secret = _open_secret(runtime, credential)
    if not await _accept_totp(db, user_id=user.id, secret=secret, code=code):
        raise errors.InvalidCode
    await login_throttle.succeeded(db, attempt)
    credential.confirmed_at = clock.utc_now()
    return await _replace_recovery_codes(db, user_id=user.id, secret=secret)


async def renew_recovery_codes(db: AsyncSession, runtime: Runtime, *, user_id: UUID) -> list[str]:
    """Ten new recovery codes; the earlier ones no longer work. Raises `FactorNotFound`."""
    credential = await second_factors.find_totp(db, user_id=user_id)
    if credential is None or credential.confirmed_at is None:
        raise errors.FactorNotFound
    secret = _open_secret(runtime, credential)
    return await _replace_recovery_codes(db, user_id=user_id, secret=secret)


async def remove(db: AsyncSession, *, user_id: UUID) -> None:
    """Take the second factor and its recovery codes away; raises `FactorNotFound` if there is none."""
    if not await second_factors.remove_totp(db, user_id=user_id):
        raise errors.FactorNotFound
    await second_factors.replace_recovery_codes(db, user_id=user_id, code_hashes=[])


async def remove_since(db: AsyncSession, *, user_id: UUID, since: datetime) -> None:
    """Take away a second factor that was added after an instant; an earlier one stays."""
    credential = await second_factors.find_totp(db, user_id=user_id)
    if credential is not None and credential.created_at > since:
        await remove(db, user_id=user_id)


async def factors_of(db: AsyncSession, *, user_id: UUID) -> list[Factor]:
    """The second factors the user can show; empty without one."""
    if not await second_factors.has_confirmed_totp(db, user_id=user_id):
        return []
    has_codes = await second_factors.count_recovery_codes(db, user_id=user_id) > 0
    return [Factor.TOTP, Factor.RECOVERY_CODE] if has_codes else [Factor.TOTP]


async def verify_code(db: AsyncSession, runtime: Runtime, *, user_id: UUID, code: str) -> Factor:
    """Use up a code of the authenticator app, or a recovery code; returns which it was.

    Every try is counted, right or wrong, before it is looked at (NIST SP 800-63B 3.2.2, ASVS 6.6.3). Raises
    `InvalidCode`, which keeps the count, and `TooManyAttempts`.
    """
    attempt = await login_throttle.begin_code(db, runtime, user_id=user_id)
    credential = await second_factors.find_totp(db, user_id=user_id)
    factor = None
    if credential is not None and credential.confirmed_at is not None:
        secret = _open_secret(runtime, credential)
        code_hash = totp.recovery_code_digest(code, user_id=user_id, secret=secret)
        if await _accept_totp(db, user_id=user_id, secret=secret, code=code):
            factor = Factor.TOTP
        elif await second_factors.use_recovery_code(
            db, user_id=user_id, code_hash=code_hash, now=clock.utc_now()
        ):
            factor = Factor.RECOVERY_CODE
    if factor is None:
        await audit.record(
            db,
            AuditAction.SECOND_FACTOR_FAILED,
            outcome=Outcome.FAILURE,
            reason="wrong_code",
            subject_id=user_id,
        )
        raise errors.InvalidCode
    await login_throttle.succeeded(db, attempt)
    return factor


async def reseal_totp_secrets(db: AsyncSession, runtime: Runtime) -> tuple[int, int]:
    """Seal again what an earlier secret key sealed; returns how many those were, and of how many.

    Raises `InvalidSettings` for a secret that no configured secret key opens.
    """
    credentials, sealer, changed = await second_factors.list_all_totp(db), _sealer(runtime), 0
    for credential in credentials:
        if sealer.is_current(credential.sealed_secret):
            continue
        context = credential.user_id.bytes
        try:
            secret = sealer.open(credential.sealed_secret, context=context)
        except SealBroken:
            raise InvalidSettings(
                ["AUTHAPI_SECRET_KEY: an authenticator app's secret was sealed under another secret key"]
            ) from None
        credential.sealed_secret = sealer.seal(secret, context=context)
        changed += 1
    await db.flush()
    return changed, len(credentials)


async def _accept_totp(db: AsyncSession, *, user_id: UUID, secret: str, code: str) -> bool:
    now = clock.utc_now()
    step = totp.matching_step(secret, code, now=now)
    return step is not None and await second_factors.accept_step(db, user_id=user_id, step=step, now=now)


async def _replace_recovery_codes(db: AsyncSession, *, user_id: UUID, secret: str) -> list[str]:
    codes = totp.generate_recovery_codes()
    hashes = [totp.recovery_code_digest(code, user_id=user_id, secret=secret) for code in codes]
    await second_factors.replace_recovery_codes(db, user_id=user_id, code_hashes=hashes)
    return codes


def _open_secret(runtime: Runtime, credential: TotpCredential) -> str:
    return _sealer(runtime).open(credential.sealed_secret, context=credential.user_id.bytes).decode()


def _sealer(runtime: Runtime) -> Sealer:
    return Sealer(runtime.derived_keys, SEALING_PURPOSE)
