"""Known devices: while an attacker's guesses throttle an account, its owner can log in from one used before."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, request_context
from authapi.models import KnownDevice
from authapi.models.base import new_id
from authapi.repositories import known_devices
from authapi.runtime import Runtime
from authapi.security.opaque_tokens import InvalidOpaqueToken

LIFETIME = timedelta(days=180)
MAX_PER_USER = 50


async def recognise(
    db: AsyncSession, runtime: Runtime, *, user_id: UUID | None, device_token: str | None
) -> KnownDevice | None:
    """The user's device that a token names; None for no token, or one that is forged, old or of another user.

    The token before the current one still counts: the reply with the newer one may have been lost.
    Looked up for unknown addresses too: otherwise an attacker who sends a genuine token of their own with other
    people's addresses could tell from the time which of them have an account.
    """
    if not device_token:
        return None
    try:
        parts = runtime.device_tokens.parse(device_token)
    except InvalidOpaqueToken:
        return None
    device = await known_devices.find_live(db, parts.device_id, now=clock.utc_now())
    if device is None or device.user_id != user_id:
        return None
    return device if parts.generation in {device.generation, device.generation - 1} else None


async def remember(
    db: AsyncSession, runtime: Runtime, *, user_id: UUID, held: int, device: KnownDevice | None = None
) -> str:
    """The device's next token after a login: a new one every time, so that a stolen one grows stale.

    `held` is how many devices the user has, counted while the user's row is locked; a new one beyond the cap
    replaces the oldest.
    """
    now = clock.utc_now()
    expires_at = now + LIFETIME
    if device is not None:
        device = await known_devices.rotate(db, device.id, user_id=user_id, now=now, expires_at=expires_at)
    if device is None:
        if held >= MAX_PER_USER:
            await known_devices.forget_oldest(db, user_id=user_id, keep=MAX_PER_USER - 1)
        device = KnownDevice(
            id=new_id(),
            user_id=user_id,
            generation=0,
            last_used_at=now,
            expires_at=expires_at,
            user_agent=request_context.current().user_agent,
        )
        await known_devices.add(db, device)
    return runtime.device_tokens.issue(device.id, device.generation)
