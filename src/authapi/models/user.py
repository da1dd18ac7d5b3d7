"""The account row and the roles assigned to it."""

from datetime import datetime

from sqlalchemy import Column, ForeignKey, Index, String, Table, text
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from authapi.enums import UserStatus
from authapi.field_limits import MAX_NAME_CHARACTERS, MAX_PHONE_CHARACTERS
from authapi.models.base import (
    Base,
    IdMixin,
    TimestampMixin,
    UtcDateTime,
    byte_ordered_string,
    index_of_present,
)
from authapi.models.role import Role

user_roles = Table(
    "user_roles",
    Base.metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role_id", ForeignKey("roles.id"), primary_key=True, index=True),
    Column("assigned_at", UtcDateTime, nullable=False),
)


def name_key(text: str) -> str:
    """What a full name is searched by, in upper or lower case; at most `MAX_NAME_CHARACTERS` of it."""
    return text.casefold()[:MAX_NAME_CHARACTERS]


class User(IdMixin, TimestampMixin, Base):
    """One person's account; `email` as typed, `email_canonical` as compared and unique.

    `full_name_key` follows `full_name` by itself: SQLite's lower() knows ASCII only.
    """

    __tablename__ = "users"
    __table_args__ = (
        Index("ix_users_created_at_id", "created_at", "id"),
        index_of_present("users", "disabled_at"),
        index_of_present("users", "deleted_at"),
        # The public search looks through these alone, in their order.
        Index(
            "ix_users_discoverable",
            "full_name_key",
            "id",
            sqlite_where=text("discoverable = 1"),
            postgresql_where=text("discoverable"),
        ),
    )

    email: Mapped[str] = mapped_column(String(320))
    email_canonical: Mapped[str] = mapped_column(byte_ordered_string(320), unique=True)
    email_verified_at: Mapped[datetime | None]
    full_name: Mapped[str] = mapped_column(String(MAX_NAME_CHARACTERS))
    full_name_key: Mapped[str] = mapped_column(byte_ordered_string(MAX_NAME_CHARACTERS), index=True)
    phone: Mapped[str | None] = mapped_column(String(MAX_PHONE_CHARACTERS))
    locale: Mapped[str] = mapped_column(String(16), default="en")
    discoverable: Mapped[bool] = mapped_column(default=False)
    disabled_at: Mapped[datetime | None]
    # Deletion is soft for some days; then the row is erased.
    deleted_at: Mapped[datetime | None]
    # From where the account was made: the verification page shows it to the owner of the address.
    registered_ip: Mapped[str | None] = mapped_column(String(64))
    registered_user_agent: Mapped[str | None] = mapped_column(String(256))
    # Access tokens that were issued up to this second no longer speak for the user.
    tokens_not_before: Mapped[datetime | None]

    roles: Mapped[list[Role]] = relationship(
        secondary=user_roles, order_by=(Role.rank.desc(), Role.name), lazy="selectin", viewonly=True
    )

    @validates("full_name")
    def _keep_name_key(self, _name: str, full_name: str) -> str:
        self.full_name_key = name_key(full_name)
        return full_name

    @property
    def status(self) -> UserStatus:
        if self.deleted_at is not None:
            return UserStatus.DELETED
        return UserStatus.DISABLED if self.disabled_at else UserStatus.ACTIVE

    @property
    def is_active(self) -> bool:
        return self.disabled_at is None and self.deleted_at is None

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
