"""The account row and the roles assigned to it."""

from datetime import datetime

from sqlalchemy import Column, ForeignKey, Index, String, Table
from sqlalchemy.orm import Mapped, mapped_column, relationship

from authapi.enums import UserStatus
from authapi.models.base import Base, IdMixin, TimestampMixin, UtcDateTime
from authapi.models.role import Role

user_roles = Table(
    "user_roles",
    Base.metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role_id", ForeignKey("roles.id"), primary_key=True, index=True),
    Column("assigned_at", UtcDateTime, nullable=False),
)


class User(IdMixin, TimestampMixin, Base):
    """One person's account; `email` as typed, `email_canonical` as compared and unique."""

    __tablename__ = "users"
    __table_args__ = (Index("ix_users_created_at_id", "created_at", "id"),)

    email: Mapped[str] = mapped_column(String(320))
    email_canonical: Mapped[str] = mapped_column(String(320), unique=True)
    email_verified_at: Mapped[datetime | None]
    full_name: Mapped[str] = mapped_column(String(200))
    phone: Mapped[str | None] = mapped_column(String(32))
    locale: Mapped[str] = mapped_column(String(16), default="en")
    discoverable: Mapped[bool] = mapped_column(default=False)
    disabled_at: Mapped[datetime | None]
    # Access tokens that were issued up to this second no longer speak for the user.
    tokens_not_before: Mapped[datetime | None]

    roles: Mapped[list[Role]] = relationship(
        secondary=user_roles, order_by=(Role.rank.desc(), Role.name), lazy="selectin", viewonly=True
    )

    @property
    def status(self) -> UserStatus:
        return UserStatus.DISABLED if self.disabled_at else UserStatus.ACTIVE

    @property
    def is_active(self) -> bool:
        return self.disabled_at is None

    @property
    def email_verified(self) -> bool:
        return self.email_verified_at is not None

    @property
    def role_names(self) -> tuple[str, ...]:
        """The assigned roles, the strongest first."""
        return tuple(role.name for role in self.roles)

    @property
    def permission_names(self) -> tuple[str, ...]:
        """What the roles allow together, sorted."""
        return tuple(sorted({permission.name for role in self.roles for permission in role.permissions}))
