"""Delegation: callers can only grant, remove or manage rights that they have themselves (ASVS 8.2.1).

Without this rule the right to assign or edit roles would be the right to do everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import AuditAction, BuiltInRole, Outcome, Permission
from authapi.models import Role, User
from authapi.principal import Principal
from authapi.services import audit, authorization
from authapi.services.rights import rights_in_session


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a caller may grant: everything as an administrator, otherwise `permissions`."""

    is_admin: bool
    permissions: frozenset[str]

    def covers(self, permissions: Iterable[str]) -> bool:
        return self.is_admin or self.permissions.issuperset(permissions)

    def covers_role(self, role: Role) -> bool:
        # The role `admin` is more than the sum of its permissions: its holders may grant every other role.
        is_above = role.name == BuiltInRole.ADMIN and not self.is_admin
        return not is_above and self.covers(permission.name for permission in role.permissions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegator(Reach):
    """A caller; their reach is what their roles allow now and their token's scopes include."""

    principal: Principal


async def load_delegator(db: AsyncSession, principal: Principal, permission: Permission) -> Delegator:
    """The caller with the rights they have now.

    Call it again once the rows to be changed are locked: the caller may have lost their rights while waiting for
    the locks. Raises `InvalidAccessToken`, `PermissionDenied`, `InsufficientScope`.
    """
    user = await authorization.require_permission(db, principal, permission)
    rights = rights_in_session(user, amr=principal.amr)
    held = frozenset(rights.permissions)
    return Delegator(
        principal=principal,
        is_admin=BuiltInRole.ADMIN in rights.roles and principal.scopes >= held,
        permissions=held & principal.scopes,
    )


def can_grant(user: User, roles: Iterable[Role], *, by: Permission) -> bool:
    """Whether a user's roles, outside of any session, give the permission `by` and all that `roles` allow."""
    reach = Reach(is_admin=BuiltInRole.ADMIN in user.role_names, permissions=frozenset(user.permission_names))
    return user.is_active and by in reach.permissions and all(map(reach.covers_role, roles))


async def ensure_may_grant(
    db: AsyncSession, delegator: Delegator, roles: Iterable[Role], *, subject_id: UUID | None = None
) -> None:
    """Raise `CannotGrant`, and put it on record, unless the caller has what these roles allow."""
    if not all(delegator.covers_role(role) for role in roles):
        await _refuse(db, delegator, reason="cannot_grant", subject_id=subject_id)
        raise errors.CannotGrant


async def ensure_may_grant_permissions(
    db: AsyncSession, delegator: Delegator, permissions: Iterable[str]
) -> None:
    """Raise `CannotGrant`, and put it on record, unless the caller has these permissions."""
    if not delegator.covers(permissions):
        await _refuse(db, delegator, reason="cannot_grant", subject_id=None)
        raise errors.CannotGrant


async def ensure_may_manage(db: AsyncSession, delegator: Delegator, user: User) -> None:
    """Raise `CannotManageUser`, and put it on record, if the user may do what the caller may not."""
    if not all(delegator.covers_role(role) for role in user.roles):
        await _refuse(db, delegator, reason="cannot_manage_user", subject_id=user.id)
        raise errors.CannotManageUser


async def _refuse(db: AsyncSession, delegator: Delegator, *, reason: str, subject_id: UUID | None) -> None:
    await audit.record(
        db,
        AuditAction.ACCESS_DENIED,
        outcome=Outcome.FAILURE,
        reason=reason,
        actor_id=delegator.principal.user_id,
        subject_id=subject_id,
        user_session_id=delegator.principal.user_session_id,
    )
