"""Role assignment: which roles a user gets, and whether a token can still carry them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.models import Role
from authapi.repositories import roles

# Bytes that the names of a user's roles and permissions may take in his access token. Of the characters that
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
