"""Role assignment: roles by name, whether a token can carry a user's roles, and keeping the last administrator."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import BuiltInRole
from authapi.models import Role, User
from authapi.repositories import roles, users

# Bytes that the names of a user's roles and permissions may take in an access token. Of the characters that
# access_tokens.MAX_TOKEN_CHARACTERS allows, this is what an RSA signature, the longest e-mail address, the
# longest host as the issuer and an audience of 200 characters leave.
MAX_CLAIM_BYTES = 1400


async def get_roles(db: AsyncSession, names: Sequence[str]) -> list[Role]:
    """The roles with these names; raises `UnknownRole` saying which of them do not exist."""
    found = await roles.find_by_names(db, names)
    known = {role.name for role in found}
    unknown = [
        errors.FieldError(("body", "roles", index), "unknown_role", "There is no such role.")
        for index, name in enumerate(names)
        if name not in known
    ]
    if unknown:
        raise errors.UnknownRole(fields=unknown)
    return found


async def ensure_fits_token(db: AsyncSession, *, user_id: UUID) -> None:
    """Raise `RolesExceedToken` if the user's roles, as written by now, are too much for a token."""
    if await roles.claim_size_of_user(db, user_id) > MAX_CLAIM_BYTES:
        raise errors.RolesExceedToken


async def spare_last_admin(db: AsyncSession, user: User) -> None:
    """Raise `LastAdmin` if nobody else could administrate after this user."""
    is_admin = user.is_active and BuiltInRole.ADMIN in user.role_names
    if is_admin and not await users.find_other_active_admin(db, user.id):
        raise errors.LastAdmin
