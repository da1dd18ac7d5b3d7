"""Authenticator apps."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from authapi.models.base import Base, IdMixin, TimestampMixin


class TotpCredential(IdMixin, TimestampMixin, Base):
    """A user's TOTP secret (RFC 6238), encrypted; it is a factor only once `confirmed_at` is set.

    `last_step` is the time step of the newest accepted code: no code works twice.
    """

    __tablename__ = "totp_credentials"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    sealed_secret: Mapped[str] = mapped_column(Text)
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)
