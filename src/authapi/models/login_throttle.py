"""Counters of wrong passwords and codes."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from authapi.models.base import Base


class LoginThrottle(Base):
    """Failures of one key: an account, a source, a device and so on (`services.login_throttle`).

    The key is a keyed digest: accounts that do not exist are counted too, and the table must not list what
    people have typed.
    """

    __tablename__ = "login_throttles"

    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    window_started_at: Mapped[datetime]
    blocked_until: Mapped[datetime | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)
