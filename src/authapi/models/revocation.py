"""Revocations that access tokens still have to be checked against."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from authapi import clock
from authapi.models.base import Base


class Revocation(Base):
    """Ends one session (`user_session_id`), or all tokens of a `subject` issued up to `not_before`.

    `subject` is a user's or a service client's id. The row matters until `expires_at`, when the last token it
    concerns has expired. `transaction_id` is PostgreSQL's: rows that commit late are found by it; on SQLite,
    where writers queue up, `id` alone tells the order.
    """

    __tablename__ = "revocations"
    # The id of a purged row must not come back: processes have read on beyond it.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own idiom

    # SQLite generates keys for INTEGER columns only.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True
    )
    transaction_id: Mapped[int] = mapped_column(BigInteger, index=True)
    user_session_id: Mapped[UUID | None]
    subject: Mapped[str | None] = mapped_column(String(64))
    not_before: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.utc_now)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Revoked(NamedTuple):
    """What a `Revocation` says to those who check tokens, several times a second."""

    id: int
    user_session_id: UUID | None
    subject: str | None
    not_before: datetime | None
    expires_at: datetime
