"""Opens sessions: what a login on a device leads to, and the tokens that speak for it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors, request_context
from authapi.enums import RevocationReason
from authapi.models import KnownDevice, User, UserSession
from authapi.models.base import new_id
from authapi.repositories import service_clients, user_sessions, users
from authapi.runtime import Runtime
from authapi.services import known_devices, revocation
from authapi.services.rights import rights_in_session
from authapi.token_authority import FIRST_PARTY_CLIENT_ID


@dataclass(frozen=True, slots=True)
class SessionTokens:
    """A user's session and the tokens that speak for it; `expires_in` in seconds."""

    user: User
    user_session: UserSession
    access_token: str
    expires_in: int
    scope: str
    # The strongest of the roles in force; None without any.
    role: str | None
    refresh_token: str
    # Only right after a login: names the device, for when strangers hammer the account.
    device_token: str | None = None


async def open_session(
    db: AsyncSession,
    runtime: Runtime,
    *,
    user: User,
    amr: Sequence[str],
    scope: str | None = None,
    device: KnownDevice | None = None,
    client_id: str = FIRST_PARTY_CLIENT_ID,
) -> SessionTokens:
    """Start a session for a user who has just authenticated with the factors in `amr` (RFC 8176).

    `scope` narrows the tokens of the session to some of the user's permissions; None means all of them. The
    caller holds the lock on the user's row. The oldest sessions beyond the cap end. `device` is the known one
    that the login came from; the tokens carry its next token, or that of a new device. `client_id` is the
    service client that the session belongs to, if one has authenticated. Raises `InvalidClient` if that was
    revoked meanwhile.
    """
    # The client may have been revoked while the password was hashed; its revocation could not end this session.
    if client_id != FIRST_PARTY_CLIENT_ID and not await service_clients.hold_active(db, client_id):
        raise errors.InvalidClient("revoked_meanwhile")
    now = clock.utc_now()
    context = request_context.current()
    lifetimes = runtime.settings.refresh_token
    held = await users.count_held(db, user.id, now=now)
    keep = runtime.settings.session.max_per_user - 1
    if held.live_sessions > keep:
        # Sorted, as all who lock several sessions lock them.
        for surplus in sorted(await user_sessions.oldest_beyond(db, user_id=user.id, keep=keep, now=now)):
            await revocation.revoke_user_sessions(
                db, runtime, user_id=user.id, only=surplus, reason=RevocationReason.TOO_MANY_SESSIONS
            )
    device_token = await known_devices.remember(
        db, runtime, user_id=user.id, device=device, held=held.devices
    )
    user_session = UserSession(
        id=new_id(),
        user_id=user.id,
        generation=0,
        rotated_at=now,
        last_used_at=now,
        auth_time=now,
        expires_at=now + lifetimes.lifetime,
        idle_expires_at=now + lifetimes.idle_lifetime,
        amr=list(amr),
        scope=scope,
        client_id=client_id,
        ip=context.ip,
        user_agent=context.user_agent,
    )
    await user_sessions.add(db, user_session)
    return replace(issue_tokens(runtime, user=user, user_session=user_session), device_token=device_token)


def issue_tokens(
    runtime: Runtime, *, user: User, user_session: UserSession, narrowed_to: Collection[str] | None = None
) -> SessionTokens:
    """Issue the session's pair: what the user may do now, within the scope of the session.

    The session's `last_used_at` becomes the token's `iat`: read it before the user's rights. `narrowed_to`
    leaves this one access token only some of the scopes (RFC 6749 section 6).
    """
    rights = rights_in_session(user, amr=user_session.amr)
    granted = narrow(rights.permissions, requested=user_session.scope)
    scope = " ".join(name for name in granted if narrowed_to is None or name in narrowed_to)
    issued = runtime.tokens.issue_for_user(
        user_id=user.id,
        email=user.email,
        roles=rights.roles,
        scope=scope,
        user_session_id=user_session.id,
        amr=user_session.amr,
        auth_time=user_session.auth_time,
        issued_at=user_session.last_used_at,
        not_before=user.tokens_not_before,
        client_id=user_session.client_id,
    )
    return SessionTokens(
        user=user,
        user_session=user_session,
        access_token=issued.token,
        expires_in=issued.expires_in,
        scope=scope,
        role=next(iter(rights.roles), None),
        refresh_token=runtime.refresh_tokens.issue(user_session.id, user_session.generation),
    )


def narrow(permissions: Sequence[str], *, requested: str | None) -> list[str]:
    """All of the permissions, or those of them that were asked for: a token never holds more."""
    wanted = None if requested is None else set(requested.split())
    return [permission for permission in permissions if wanted is None or permission in wanted]


async def list_sessions(db: AsyncSession, *, user_id: UUID) -> list[UserSession]:
    """The user's live sessions, the one used last first."""
    return await user_sessions.list_live(db, user_id=user_id, now=clock.utc_now())


async def end_session(db: AsyncSession, runtime: Runtime, *, user_id: UUID, user_session_id: UUID) -> None:
    """End one of the user's own sessions; raises `SessionNotFound` for those of others and ended ones."""
    ended = await revocation.revoke_user_sessions(
        db,
        runtime,
        user_id=user_id,
        only=user_session_id,
        reason=RevocationReason.ENDED_BY_USER,
        actor_id=user_id,
    )
    if not ended:
        raise errors.SessionNotFound
