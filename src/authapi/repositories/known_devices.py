"""Devices that have logged in before."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningDelete

from authapi.models import KnownDevice
from authapi.models.base import table_of


def add(db: AsyncSession, device: KnownDevice) -> None:
    """Insert a device with whatever is written next."""
    db.add(device)


async def find_live(db: AsyncSession, device_id: UUID, *, now: datetime) -> KnownDevice | None:
    """A device that has not expired."""
    return await db.scalar(
        select(KnownDevice).where(KnownDevice.id == device_id, KnownDevice.expires_at > now)
    )


async def rotate(
    db: AsyncSession, device_id: UUID, *, user_id: UUID, now: datetime, expires_at: datetime
) -> KnownDevice | None:
    """Move a user's device to its next generation; None if there is no such device."""
    statement = (
        update(KnownDevice)
        .where(KnownDevice.id == device_id, KnownDevice.user_id == user_id)
        .values(
            generation=KnownDevice.generation + 1,
            last_used_at=now,
            expires_at=expires_at,
            updated_at=now,
        )
        .returning(KnownDevice)
    )
    return (await db.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def forget(db: AsyncSession, *, user_id: UUID) -> None:
    """Forget all devices of a user."""
    await db.execute(delete(KnownDevice).where(KnownDevice.user_id == user_id))


async def forget_oldest(db: AsyncSession, *, user_id: UUID, keep: int) -> Sequence[UUID]:
    """Forget a user's devices beyond `keep`, those used longest ago first; returns their ids."""
    found = await db.scalars(_FORGET_OLDEST, {"owner_id": user_id, "keep": keep})
    return found.all()


def _forgetting() -> ReturningDelete[Any]:
    devices = table_of(KnownDevice)
    surplus = (
        select(devices.c.id)
        .where(devices.c.user_id == bindparam("owner_id"))
        .order_by(devices.c.last_used_at.desc(), devices.c.id.desc())
        .offset(bindparam("keep", type_=Integer))
    )
    return delete(devices).where(devices.c.id.in_(surplus)).returning(devices.c.id)


# Put together once.
_FORGET_OLDEST = _forgetting()
