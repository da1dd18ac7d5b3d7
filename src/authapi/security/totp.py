"""Time-based one-time passwords (RFC 6238) and recovery codes."""

import hmac
import re
import secrets
from base64 import b32encode
from datetime import datetime, timedelta
from uuid import UUID

import pyotp

STEP = timedelta(seconds=30)
# One step of drift either way: phones are rarely wrong by more (RFC 6238 section 5.2).
DRIFT_STEPS = 1
SECRET_BYTES = 20
RECOVERY_CODES = 10
# 120 bits: enough for a plain keyed digest, without a slow hash (ASVS 6.5.2).
_RECOVERY_BYTES = 15

_TOTP_CODE = re.compile(r"[0-9]{6}")


def generate_secret() -> str:
    """A new 160-bit secret, in base32 as authenticator apps want it (RFC 4226 section 4, R6)."""
    return b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def provisioning_uri(secret: str, *, account: str, issuer: str) -> str:
    """The `otpauth://` address that an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def qr_svg(uri: str) -> str:
    """The address as a QR code, an SVG document without scripts or references."""
    # Late: it takes longer to load than most people take to ask for one.
    import segno

    code = segno.make(uri, error="m", micro=False)
    svg: str = code.svg_inline(scale=4, border=4, dark="#000", light="#fff")
    return svg


def matching_step(secret: str, code: str, *, now: datetime) -> int | None:
    """The time step whose code this is, within one step of `now`; None if there is none.

    Every candidate is compared, in constant time. The caller must accept each step once.
    """
    if not _TOTP_CODE.fullmatch(code):
        return None
    totp = pyotp.TOTP(secret)
    current = int(now.timestamp()) // int(STEP.total_seconds())
    found = None
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


def generate_recovery_codes() -> list[str]:
    """Ten codes of 24 base32 characters, in groups of four."""
    return [_grouped(b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode()) for _ in range(RECOVERY_CODES)]


def recovery_code_digest(code: str, *, user_id: UUID, secret: str) -> bytes:
    """What is stored of a recovery code: keyed, bound to its user, and blind to dashes, spaces and case.

    The key is made of the authenticator app's secret, which is sealed again when the secret key changes: a
    digest could not be.
    """
    key = hmac.digest(secret.encode(), b"authapi recovery codes", "sha256")
    bare = re.sub(r"[\s-]", "", code).upper()
    return hmac.digest(key, user_id.bytes + bare.encode("utf-8", "surrogatepass"), "sha256")


def _grouped(text: str) -> str:
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))
