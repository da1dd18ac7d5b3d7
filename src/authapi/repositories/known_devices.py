"""Devices that have logged in before."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import KnownDevice
from authapi.models.base import table_of, values_of

# On the table: the unit of work would take longer for a row than the database does, at each login.
_INSERT = insert(table_of(KnownDevice))


async def add(db: AsyncSession, device: KnownDevice) -> None:
    """Insert a device."""
    await db.execute(_INSERT, values_of(device))


async def find_live(db: AsyncSession, device_id: UUID, *, now: datetime) -> KnownDevice | None:
    """A device that has not expired."""
    return await db.scalar(
        select(KnownDevice).where(KnownDevice.id == device_id, KnownDevice.expires_at > now)
    )


async def list_ids(db: AsyncSession, *, user_id: UUID) -> Sequence[UUID]:
    """The keys of all devices of a user."""
    return (await db.scalars(select(KnownDevice.id).where(KnownDevice.user_id == user_id))).all()


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


async def forget_oldest(db: AsyncSession, *, user_id: UUID, keep: int) -> None:
    """Forget a user's devices beyond `keep`, those used longest ago first."""
    surplus = (
        select(KnownDevice.id)
        .where(KnownDevice.user_id == user_id)
        .order_by(KnownDevice.last_used_at.desc(), KnownDevice.id.desc())
        .offset(keep)
    )
    await db.execute(delete(KnownDevice).where(KnownDevice.id.in_(surplus)))
