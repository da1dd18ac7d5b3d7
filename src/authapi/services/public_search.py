"""The public search for users who chose to be discoverable."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import User
from authapi.models.user import name_key
from authapi.repositories import user_search
from authapi.repositories.pagination import Page


async def search(db: AsyncSession, *, text: str, cursor: str | None, limit: int) -> Page[User]:
    """Look for a part of the full name, in upper or lower case, by name.

    Never by e-mail: that would tell who has an account. Raises `InvalidCursor`.
    """
    return await user_search.list_discoverable(
        db, name_part=name_key(text.strip(" ")), cursor=cursor, limit=limit
    )
