"""The caller's own profile: reading and changing it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import AuditAction
from authapi.models import User
from authapi.principal import Principal
from authapi.repositories import users
from authapi.services import audit

# Users cannot set their e-mail, its verification or their roles here (ASVS 8.2.3).
EDITABLE_FIELDS = frozenset({"full_name", "phone", "locale", "discoverable"})


async def update_profile(db: AsyncSession, principal: Principal, *, changes: Mapping[str, Any]) -> User:
    """Set the given fields, which must be `EDITABLE_FIELDS`, and leave the others alone.

    Raises `InvalidAccessToken` for an account that is gone or disabled, `ValueError` for another field.
    """
    if not changes.keys() <= EDITABLE_FIELDS:
        raise ValueError(f"not editable: {sorted(changes.keys() - EDITABLE_FIELDS)}")
    # Locked: an account that is deleted at the same moment would make the update fail.
    user = await users.find_for_update(db, principal.user_id)
    if user is None or not user.is_active:
        raise errors.InvalidAccessToken("account_gone_or_disabled")
    changed = sorted(name for name, value in changes.items() if getattr(user, name) != value)
    for name in changed:
        setattr(user, name, changes[name])
    if changed:
        await db.flush()
        # Names of the fields only: the trail outlives the account and should not keep its data.
        await audit.record(
            db,
            AuditAction.USER_PROFILE_CHANGED,
            actor_id=user.id,
            subject_id=user.id,
            user_session_id=principal.user_session_id,
            details={"fields": changed},
        )
    return user
