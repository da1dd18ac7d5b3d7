"""Keys that sign access tokens; the private half is stored sealed."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from authapi.models.base import Base, IdMixin, TimestampMixin


class SigningKey(IdMixin, TimestampMixin, Base):
    """`kid` is the RFC 7638 thumbprint; `sealed_private_key` opens only under the secret key."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(String(64), unique=True)
    algorithm: Mapped[str] = mapped_column(String(16))
    sealed_private_key: Mapped[str] = mapped_column(Text)
    activates_at: Mapped[datetime]
    # When the last token that the key signed has expired; None while no successor is planned.
    verifies_until: Mapped[datetime | None]
