"""The outbox: mails that are sent after the transaction that caused them, and never lost."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from authapi.enums import MailState
from authapi.models.base import Base, IdMixin, TimestampMixin


class MailMessage(IdMixin, TimestampMixin, Base):
    """One mail; `sealed_message` holds links with live tokens, so it is encrypted, and erased once sent.

    A sender owns the row until `claimed_until`; if it dies, another takes over.
    """

    __tablename__ = "mail_messages"
    __table_args__ = (
        Index("ix_mail_messages_state_next_attempt_at", "state", "next_attempt_at"),
        Index("ix_mail_messages_recipient_kind_created_at", "recipient", "kind", "created_at"),
        Index("ix_mail_messages_updated_at", "updated_at"),
    )

    kind: Mapped[str] = mapped_column(String(32))
    # The canonical address: mails are counted by it.
    recipient: Mapped[str] = mapped_column(String(320))
    user_id: Mapped[UUID | None] = mapped_column(index=True)
    message_id: Mapped[str] = mapped_column(String(320), unique=True)
    sealed_message: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), default=MailState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime]
    # An attempt that fails after this is the last one.
    give_up_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(String(200))
    sent_at: Mapped[datetime | None]
