"""Roles and the permissions they carry."""

from sqlalchemy import Column, ForeignKey, String, Table
from sqlalchemy.orm import Mapped, mapped_column, relationship

from authapi.models.base import Base, IdMixin, TimestampMixin, byte_ordered_string
from authapi.models.permission import Permission

role_permissions = Table(
    "role_permissions",
    Base.metadata,
    Column("role_id", ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True),
    Column("permission_id", ForeignKey("permissions.id", ondelete="CASCADE"), primary_key=True, index=True),
)


class Role(IdMixin, TimestampMixin, Base):
    """A set of permissions that is assigned to users; the highest `rank` is a user's strongest role."""

    __tablename__ = "roles"

    name: Mapped[str] = mapped_column(byte_ordered_string(64), unique=True)
    description: Mapped[str] = mapped_column(String(200), default="")
    rank: Mapped[int] = mapped_column(default=20)
    is_built_in: Mapped[bool] = mapped_column(default=False)
    # In force only in sessions that showed a second factor.
    requires_second_factor: Mapped[bool] = mapped_column(default=False)

    permissions: Mapped[list[Permission]] = relationship(
        secondary=role_permissions, order_by=Permission.name, lazy="selectin"
    )
