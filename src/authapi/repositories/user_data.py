"""All rows that concern one user."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import (
    AuditEvent,
    KnownDevice,
    MailMessage,
    OneTimeToken,
    PasswordCredential,
    RecoveryCode,
    TotpCredential,
    User,
    UserSession,
)
from authapi.models.base import Base

# Enough for any person; a table that a stranger can fill must not fill the memory.
LIMIT = 10_000


async def collect(db: AsyncSession, *, user_id: UUID) -> dict[str, Sequence[Base]]:
    """The rows of a user by table, the newest 10,000 of each."""
    conditions: dict[type[Base], ColumnElement[bool]] = {
        User: User.id == user_id,
        PasswordCredential: PasswordCredential.user_id == user_id,
        UserSession: UserSession.user_id == user_id,
        KnownDevice: KnownDevice.user_id == user_id,
        TotpCredential: TotpCredential.user_id == user_id,
        RecoveryCode: RecoveryCode.user_id == user_id,
        OneTimeToken: OneTimeToken.user_id == user_id,
        MailMessage: MailMessage.user_id == user_id,
        AuditEvent: (AuditEvent.subject_id == user_id) | (AuditEvent.actor_id == user_id),
    }
    return {
        model.__tablename__: (
            await db.scalars(
                select(model).where(condition).order_by(model.__table__.c.id.desc()).limit(LIMIT)
            )
        ).all()
        for model, condition in conditions.items()
    }
