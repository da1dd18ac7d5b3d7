"""The public search for users who chose to be discoverable."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.models import User
from authapi.repositories import user_search


@dataclass(frozen=True, slots=True)
class FoundUsers:
    """One page of matches; `next_cursor` is None on the last one."""

    users: Sequence[User]
    next_cursor: str | None


async def search(db: AsyncSession, *, text: str, cursor: str | None, limit: int) -> FoundUsers:
    """Look for a part of the full name, case-insensitively.

    Never by e-mail: that would tell who has an account. Raises `InvalidCursor`.
    """
    after = None if cursor is None else _decode(cursor)
    # One more than asked for tells whether there is a next page.
    users = await user_search.find_discoverable(db, text=text.strip(), after=after, limit=limit + 1)
    page = users[:limit]
    return FoundUsers(page, _encode(page[-1]) if len(users) > limit else None)


def _encode(last: User) -> str:
    return base64.urlsafe_b64encode(json.dumps([last.full_name, last.id.hex]).encode()).decode()


def _decode(cursor: str) -> tuple[str, UUID]:
    try:
        full_name, id_hex = json.loads(base64.urlsafe_b64decode(cursor))
        # What no database takes as text: NUL, and lone surrogates, which cannot be encoded.
        if "\x00" in full_name or not full_name.encode():
            raise ValueError("no name")
        return full_name, UUID(hex=id_hex)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise errors.InvalidCursor from None
