"""Services that call authapi in their own name."""

from datetime import datetime

from sqlalchemy import JSON, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from authapi.models.base import Base, IdMixin, TimestampMixin


class ServiceClient(IdMixin, TimestampMixin, Base):
    """A confidential OAuth2 client; its secret is random, so a digest of it is enough."""

    __tablename__ = "service_clients"

    client_id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    revoked_at: Mapped[datetime | None]
    # Its own access tokens that were issued up to this second are void.
    tokens_not_before: Mapped[datetime | None]
