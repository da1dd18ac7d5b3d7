"""Finding users who chose to be found."""

from uuid import UUID

from sqlalchemy import or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import raiseload

from authapi.models import User


async def find_discoverable(
    db: AsyncSession, *, text: str, after: tuple[str, UUID] | None, limit: int
) -> list[User]:
    """Active, discoverable users whose name contains the text, by name and id, from behind `after` on."""
    # SQLite folds the case of ASCII letters only; these spellings cover how names are written.
    spellings = {text, text.lower(), text.upper(), text.title()}
    statement = (
        select(User)
        .options(raiseload(User.roles))
        .where(
            User.discoverable,
            User.disabled_at.is_(None),
            or_(*(User.full_name.icontains(spelling, autoescape=True) for spelling in sorted(spellings))),
        )
        .order_by(User.full_name, User.id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tuple_(User.full_name, User.id) > after)
    return list(await db.scalars(statement))
