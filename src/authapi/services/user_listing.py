"""User listing: administrators look for users and at them."""

import unicodedata
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import AuditAction, UserSort, UserStatus
from authapi.models import User
from authapi.models.user import name_key
from authapi.principal import Principal
from authapi.repositories import users
from authapi.repositories.pagination import Page
from authapi.services import admin_trail


async def list_users(
    db: AsyncSession,
    principal: Principal,
    *,
    q: str | None,
    role: str | None,
    status: UserStatus | None,
    sort: UserSort,
    cursor: str | None,
    limit: int,
) -> Page[User]:
    """Users whose e-mail or full name begins with `q`, or has it anywhere, in upper or lower case.

    Which of the two: `user_search.match`. Raises `InvalidCursor`.
    """
    text = (q or "").strip()
    page = await users.list_page(
        db,
        email_part=unicodedata.normalize("NFKC", text).lower(),
        name_part=name_key(text),
        role=role,
        status=status,
        sort=sort,
        cursor=cursor,
        limit=limit,
    )
    await admin_trail.record(
        db,
        principal,
        AuditAction.USERS_LISTED,
        # Only that something was searched for: it may be anything that got into the clipboard.
        details={
            "searched": bool(text),
            "role": role,
            "status": status,
            "sort": sort,
            "count": len(page.items),
        },
    )
    return page


async def list_by_email(db: AsyncSession, *, limit: int) -> Page[User]:
    """The first users in the order of their addresses, for the operator, who has no account to put on record."""
    return await users.list_page(
        db,
        email_part="",
        name_part="",
        role=None,
        status=None,
        sort=UserSort.EMAIL,
        cursor=None,
        limit=limit,
    )


async def get_user(db: AsyncSession, principal: Principal, *, user_id: UUID) -> User:
    """One user, also one who is deleted and not erased yet; raises `UserNotFound`."""
    user = await users.find_by_id(db, user_id)
    if user is None:
        raise errors.UserNotFound
    await admin_trail.record(db, principal, AuditAction.USER_READ, subject_id=user.id)
    return user
