"""Codes for the day that the authenticator app is lost."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from authapi.models.base import Base, IdMixin, TimestampMixin


class RecoveryCode(IdMixin, TimestampMixin, Base):
    """The keyed digest of a recovery code, good for one login."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    used_at: Mapped[datetime | None]
