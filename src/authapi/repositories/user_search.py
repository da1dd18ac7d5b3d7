"""Finding users who chose to be found."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import raiseload

from authapi.models import User
from authapi.repositories.pages import Keyset, Page, list_id, read_page


async def list_discoverable(
    db: AsyncSession, *, name_part: str, cursor: str | None, limit: int
) -> Page[User]:
    """Active, discoverable users whose name key contains the text; raises `InvalidCursor`.

    A scan: the text may stand anywhere in the name, and no index serves that on both databases.
    """
    statement = (
        select(User)
        .options(raiseload(User.roles))
        .where(
            User.discoverable,
            User.disabled_at.is_(None),
            User.deleted_at.is_(None),
            User.full_name_key.contains(name_part, autoescape=True),
        )
    )
    keyset = Keyset(
        list_id=list_id("discoverable", name_part=name_part), columns=[User.full_name_key, User.id]
    )
    return await read_page(db, statement, keyset=keyset, cursor=cursor, limit=limit)
