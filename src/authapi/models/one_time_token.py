"""Tokens that a mail carries and that work once."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from authapi.models.base import Base, IdMixin, TimestampMixin


class OneTimeToken(IdMixin, TimestampMixin, Base):
    """The digest of a token with a purpose; `data` says what consuming it does (a new address, roles)."""

    __tablename__ = "one_time_tokens"
    __table_args__ = (Index("ix_one_time_tokens_user_id_purpose", "user_id", "purpose"),)

    purpose: Mapped[str] = mapped_column(String(32))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    # None for an invitation: its account does not exist yet.
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    consumed_at: Mapped[datetime | None]
    # Wrong codes given along with this token; too many void it.
    attempts: Mapped[int] = mapped_column(default=0)
