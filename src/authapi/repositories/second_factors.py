"""Authenticator apps and recovery codes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, SQLColumnExpression, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import RecoveryCode, TotpCredential


async def find_totp(db: AsyncSession, *, user_id: UUID) -> TotpCredential | None:
    """The user's authenticator app, confirmed or not."""
    return await db.scalar(select(TotpCredential).where(TotpCredential.user_id == user_id))


async def list_all_totp(db: AsyncSession) -> Sequence[TotpCredential]:
    """Every authenticator app, for sealing their secrets again."""
    return (await db.scalars(select(TotpCredential).order_by(TotpCredential.id))).all()


async def has_confirmed_totp(db: AsyncSession, *, user_id: UUID) -> bool:
    """Whether the user has a second factor."""
    return bool(await db.scalar(select(is_enrolled(user_id))))


def is_enrolled(user_id: UUID | SQLColumnExpression[UUID]) -> ColumnElement[bool]:
    """The condition for a user who has a second factor, for statements that ask for more."""
    return exists().where(TotpCredential.user_id == user_id, TotpCredential.confirmed_at.is_not(None))


async def replace_unconfirmed_totp(db: AsyncSession, credential: TotpCredential) -> None:
    """Store a secret that is still to be confirmed, in place of an earlier one of its kind."""
    await db.execute(
        delete(TotpCredential).where(
            TotpCredential.user_id == credential.user_id, TotpCredential.confirmed_at.is_(None)
        )
    )
    db.add(credential)
    await db.flush()


async def accept_step(db: AsyncSession, *, user_id: UUID, step: int, now: datetime) -> bool:
    """Use a time step up: of any number of concurrent uses of one code exactly one succeeds."""
    statement = (
        update(TotpCredential)
        .where(TotpCredential.user_id == user_id, TotpCredential.last_step < step)
        .values(last_step=step, updated_at=now)
        .returning(TotpCredential.id)
    )
    return (await db.scalar(statement)) is not None


async def remove_totp(db: AsyncSession, *, user_id: UUID) -> bool:
    """Remove the authenticator app; tells whether there was one."""
    statement = delete(TotpCredential).where(TotpCredential.user_id == user_id)
    return (await db.scalar(statement.returning(TotpCredential.id))) is not None


async def replace_recovery_codes(db: AsyncSession, *, user_id: UUID, code_hashes: Sequence[bytes]) -> None:
    """Make these the user's recovery codes; earlier ones no longer work."""
    await db.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    db.add_all(RecoveryCode(user_id=user_id, code_hash=code_hash) for code_hash in code_hashes)
    await db.flush()


async def use_recovery_code(db: AsyncSession, *, user_id: UUID, code_hash: bytes, now: datetime) -> bool:
    """Use up the code that has this digest: of any number of concurrent uses exactly one succeeds."""
    statement = (
        update(RecoveryCode)
        .where(
            RecoveryCode.user_id == user_id,
            RecoveryCode.code_hash == code_hash,
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=now, updated_at=now)
        .returning(RecoveryCode.id)
    )
    return (await db.scalar(statement)) is not None


async def count_recovery_codes(db: AsyncSession, *, user_id: UUID) -> int:
    """How many recovery codes are left."""
    statement = select(func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return (await db.scalar(statement)) or 0
