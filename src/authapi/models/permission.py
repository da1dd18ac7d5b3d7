"""Permissions: what a role allows, and what a token's scope names."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from authapi.models.base import Base, IdMixin, TimestampMixin, byte_ordered_string


class Permission(IdMixin, TimestampMixin, Base):
    """`is_built_in` permissions guard authapi's own routes and cannot be changed."""

    __tablename__ = "permissions"

    name: Mapped[str] = mapped_column(byte_ordered_string(64), unique=True)
    description: Mapped[str] = mapped_column(String(200), default="")
    is_built_in: Mapped[bool] = mapped_column(default=False)
