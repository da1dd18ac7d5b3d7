"""Decides whether a user may do something, on the database's present state and never on the token alone."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import AuditAction, Outcome
from authapi.models import User
from authapi.principal import Principal
from authapi.repositories import users
from authapi.services import audit, second_factors
from authapi.services.rights import SECOND_FACTOR_AMR, rights_in_session


async def require_role(db: AsyncSession, principal: Principal, *names: str) -> User:
    """The caller's account, if it is active and has one of the roles.

    A token that was narrowed to some scopes cannot act through a role. Raises `InvalidAccessToken` for an
    account that is gone or disabled, `PermissionDenied`, `InsufficientScope`.
    """
    user = await get_active_user(db, principal)
    rights = rights_in_session(user, amr=principal.amr)
    if not set(names) & set(rights.roles):
        await _deny(db, principal, reason="missing_role")
        raise errors.PermissionDenied(f"needs one of the roles {', '.join(names)}")
    if not principal.scopes.issuperset(rights.permissions):
        await _deny(db, principal, reason="narrowed_scope")
        raise errors.InsufficientScope("the token was narrowed by scope")
    return user


async def require_permission(db: AsyncSession, principal: Principal, permission: str) -> User:
    """The caller's account, if it is active and one of its roles holds the permission.

    The token must carry the scope as well: a token that was issued for less must not do more. Raises
    `InvalidAccessToken`, `PermissionDenied`, `InsufficientScope`.
    """
    user = await get_active_user(db, principal)
    if permission not in rights_in_session(user, amr=principal.amr).permissions:
        await _deny(db, principal, reason="missing_permission")
        raise errors.PermissionDenied(f"needs {permission}")
    if permission not in principal.scopes:
        await _deny(db, principal, reason="missing_scope")
        raise errors.InsufficientScope(f"needs {permission}")
    return user


async def require_fresh(db: AsyncSession, principal: Principal, *, max_age: timedelta) -> None:
    """Step-up (RFC 9470): the caller has logged in lately, with the second factor if there is one.

    Raises `ReauthenticationRequired`, `SecondFactorRequired`.
    """
    if clock.utc_now() - principal.auth_time > max_age:
        raise errors.ReauthenticationRequired
    if SECOND_FACTOR_AMR not in principal.amr and await second_factors.factors_of(
        db, user_id=principal.user_id
    ):
        raise errors.SecondFactorRequired


async def get_active_user(db: AsyncSession, principal: Principal) -> User:
    """The caller's account as it is now; raises `InvalidAccessToken` if it is gone or disabled."""
    user = await users.find_by_id(db, principal.user_id)
    if user is None or not user.is_active:
        raise errors.InvalidAccessToken("account_gone_or_disabled")
    return user


async def _deny(db: AsyncSession, principal: Principal, *, reason: str) -> None:
    await audit.record(
        db,
        AuditAction.ACCESS_DENIED,
        outcome=Outcome.FAILURE,
        reason=reason,
        actor_id=principal.user_id,
        user_session_id=principal.user_session_id,
    )
