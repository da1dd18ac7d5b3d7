"""Logout: from this device, or from all of them."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import RevocationReason
from authapi.principal import Principal
from authapi.runtime import Runtime
from authapi.services import revocation
from authapi.services.token_refresh import find_session_owner


async def log_out(
    db: AsyncSession, runtime: Runtime, *, principal: Principal | None, refresh_token: str | None
) -> None:
    """End the session that an access token or, when that has expired, a refresh token belongs to.

    Ending an ended session is fine. Raises `NotAuthenticated` without either, `InvalidRefreshToken`.
    """
    if principal is not None:
        user_id, user_session_id = principal.user_id, principal.user_session_id
    elif refresh_token:
        user, user_session = await find_session_owner(db, runtime, refresh_token=refresh_token)
        user_id, user_session_id = user.id, user_session.id
    else:
        raise errors.NotAuthenticated
    await revocation.revoke_user_sessions(
        db,
        runtime,
        user_id=user_id,
        only=user_session_id,
        reason=RevocationReason.LOGOUT,
        actor_id=user_id,
    )


async def log_out_everywhere(db: AsyncSession, runtime: Runtime, *, user_id: UUID) -> int:
    """End all sessions of a user; returns how many there were."""
    ended = await revocation.revoke_user_sessions(
        db, runtime, user_id=user_id, reason=RevocationReason.LOGOUT_ALL, actor_id=user_id
    )
    return len(ended)
