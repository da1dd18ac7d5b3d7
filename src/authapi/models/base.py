"""What every table shares: constraint names, time-ordered keys, instants with a zone."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import DateTime, Dialect, Index, MetaData, String, Table, TypeDecorator
from sqlalchemy import column as named_column
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from authapi import clock


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant on every database; SQLite alone would hand back naive values.

    Raises `ValueError` when a naive datetime is stored.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored; use authapi.clock.utc_now()")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def byte_ordered_string(length: int) -> String:
    """Text that every database compares by its UTF-8 bytes, as an index serves prefixes and pages of it.

    PostgreSQL would otherwise sort by the locale that its database happens to have.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def index_of_present(table: str, column: str) -> Index:
    """An index of the few rows that have a value in the column.

    SQLite would take one of all rows for "IS NULL", which is nearly every row, and then sort them all.
    """
    present = named_column(column).is_not(None)
    return Index(f"ix_{table}_{column}", column, sqlite_where=present, postgresql_where=present)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime}


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): unique, and in the order of creation, which keeps indices compact."""
    return uuid_utils.compat.uuid7()


def lowest_id(instant: datetime, *, leeway: timedelta) -> UUID:
    """A lower bound of all UUIDv7s made at `instant + leeway`.

    It turns a time range into a range of primary keys.
    """
    milliseconds = int((instant.timestamp() + leeway.total_seconds()) * 1000)
    return UUID(int=min(max(milliseconds, 0), (1 << 48) - 1) << 80)


def table_of(model: type[Base]) -> Table:
    """The Core table: for one or two rows, the ORM's overhead would double the cost."""
    return cast(Table, model.__table__)


def values_of(row: Base) -> dict[str, Any]:
    """The columns that were set on a new row, for an INSERT on its table."""
    return {name: value for name, value in vars(row).items() if name in row.__table__.columns}


class IdMixin:
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)


class TimestampMixin:
    created_at: Mapped[datetime] = mapped_column(default=clock.utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.utc_now, onupdate=clock.utc_now)
