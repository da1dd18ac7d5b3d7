"""Security events: who did what to whom, from where, and how it ended."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, String
from sqlalchemy import column as named_column
from sqlalchemy.orm import Mapped, mapped_column

from authapi import clock
from authapi.models.base import Base, IdMixin


class AuditEvent(IdMixin, Base):
    """One event, never changed; it has no foreign keys because it outlives what it speaks of."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_subject_id_id", "subject_id", "id"),
        Index("ix_audit_events_actor_id_id", "actor_id", "id"),
        Index("ix_audit_events_action_id", "action", "id"),
        Index("ix_audit_events_ip_id", "ip", "id"),
        Index("ix_audit_events_outcome_id", "outcome", "id"),
        Index("ix_audit_events_occurred_at", "occurred_at"),
        # Of the few that wait, in their order: however many are sealed, finding the next ones costs the same.
        Index(
            "ix_audit_events_unsealed",
            "id",
            sqlite_where=named_column("sequence").is_(None),
            postgresql_where=named_column("sequence").is_(None),
        ),
    )

    occurred_at: Mapped[datetime] = mapped_column(default=clock.utc_now)
    action: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(64))
    actor_id: Mapped[UUID | None]
    subject_id: Mapped[UUID | None]
    user_session_id: Mapped[UUID | None]
    ip: Mapped[str | None] = mapped_column(String(64))
    user_agent: Mapped[str | None] = mapped_column(String(256))
    request_id: Mapped[str | None] = mapped_column(String(64))
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    # Place and hash in the chain, filled in by a loop shortly after: sealing must not serialise logins.
    sequence: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    chain_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    # Stands in the chain for address, user agent and details, which are erased with their user.
    personal_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    anonymised_at: Mapped[datetime | None]


class AuditAnchor(Base):
    """Where the chain begins (`start`: what came before was purged) and ends (`head`)."""

    __tablename__ = "audit_anchors"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    chain_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
