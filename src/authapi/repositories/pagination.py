"""Keyset pages: a list is read on after the last row that was shown, so no page counts or skips the others.

Unlike an offset this stays true while rows come and go: nothing is shown twice and nothing is left out.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid, literal, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

from authapi import errors
from authapi.models.base import UtcDateTime
from authapi.repositories.planning import plan_for_these_values
from authapi.security import base64url, strict_json

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows of a list; `next_cursor` leads to those after them, and is None on the last page."""

    items: list[Row]
    next_cursor: str | None
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyset:
    """An order of a list: by `columns`, which together are unique and which an index serves.

    `list_id` names the list, its order and its filters; a cursor of another one is refused.
    """

    list_id: str
    columns: Sequence[InstrumentedAttribute[Any]]
    descending: bool = False
    # There are few rows: find them by the filters and sort them, instead of reading on in the order's index.
    are_few: bool = False


def list_id(name: str, **parameters: object) -> str:
    """A short name for a list with this order and these filters."""
    described = json.dumps([name, parameters], sort_keys=True, default=str)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


async def read_page(
    db: AsyncSession, statement: Select[Row], *, keyset: Keyset, cursor: str | None, limit: int
) -> Page[Row]:
    """The next `limit` rows of a statement that selects one model; raises `InvalidCursor`."""
    if cursor is not None:
        statement = statement.where(_is_after(keyset, _decode(cursor, keyset)))
    await plan_for_these_values(db)
    order = [column.desc() if keyset.descending else column.asc() for column in keyset.columns]
    if keyset.are_few:
        # No column of a keyset is ever null. That the nulls come at the other end than in an index only keeps
        # PostgreSQL from using it for the order.
        order = [each.nulls_last() if keyset.descending else each.nulls_first() for each in order]
    # One more than asked for tells whether there is a next page.
    rows = list(await db.scalars(statement.order_by(*order).limit(limit + 1)))
    items, has_more = rows[:limit], len(rows) > limit
    next_cursor = _encode([getattr(items[-1], c.key) for c in keyset.columns], keyset) if has_more else None
    return Page(items, next_cursor, limit)


def _is_after(keyset: Keyset, values: Sequence[Any]) -> ColumnElement[bool]:
    shown = tuple_(*(literal(value, c.type) for c, value in zip(keyset.columns, values, strict=True)))
    row = tuple_(*keyset.columns)
    return row < shown if keyset.descending else row > shown


def _encode(values: Sequence[Any], keyset: Keyset) -> str:
    document = {"list": keyset.list_id, "after": [_to_text(value) for value in values]}
    return base64url.encode(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())


def _decode(cursor: str, keyset: Keyset) -> list[Any]:
    try:
        document = strict_json.parse_object(base64url.decode(cursor))
        if document["list"] != keyset.list_id:
            raise ValueError("of another list")
        values = [
            _from_text(text, column.type)
            for text, column in zip(document["after"], keyset.columns, strict=True)
        ]
        if _encode(values, keyset) != cursor:
            raise ValueError("not canonical")
    # What a client made up can fail at any of these steps, in any way.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = errors.FieldError(("query", "cursor"), "invalid_cursor", errors.InvalidCursor.message)
        raise errors.InvalidCursor(str(error), fields=[reason]) from None
    return values


def _to_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.hex if isinstance(value, UUID) else str(value)


def _from_text(text: str, kind: TypeEngine[Any]) -> object:
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(text)
    if isinstance(kind, Uuid):
        return UUID(hex=text)
    if "\x00" in text:
        raise ValueError("no database takes NUL")
    return text
