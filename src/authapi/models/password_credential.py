"""Password hashes, apart from the user so that reading an account never reads its proof."""

from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from authapi.models.base import Base, IdMixin, TimestampMixin


class PasswordCredential(IdMixin, TimestampMixin, Base):
    __tablename__ = "password_credentials"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
