"""Roles and their permissions."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import Role


async def find_by_names(db: AsyncSession, names: Sequence[str]) -> list[Role]:
    """The roles with these names; unknown names are left out."""
    return list(await db.scalars(select(Role).where(Role.name.in_(names)).order_by(Role.name)))
