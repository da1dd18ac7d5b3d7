"""Finding users by a part of what they are called: by its beginning, or from three characters on anywhere.

The latter needs PostgreSQL's extension pg_trgm, of whose index a migration makes use where it can.
"""

import re
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Engine, and_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, raiseload

from authapi.models import User
from authapi.repositories.pagination import Keyset, Page, list_id, read_page

# By database: what a text must hold so that the index of trigrams serves it; None if there is no such index.
_INDEXED: WeakKeyDictionary[Engine, re.Pattern[str] | None] = WeakKeyDictionary()
_WORD = re.compile(r"[^\W_]{3}")
_ASCII_WORD = re.compile(r"[a-z0-9]{3}")


async def match(db: AsyncSession, column: InstrumentedAttribute[str], part: str) -> ColumnElement[bool]:
    """What is true where a column has the part; every character stands for itself.

    The part stands at the beginning, or anywhere if the index of trigrams serves it.
    """
    indexed = await _find_indexed(db)
    if indexed is not None and indexed.search(part):
        return column.contains(part, autoescape=True)
    # A range and no pattern: the column's index serves it on both databases. U+10FFFF, no character, sorts
    # after all of them.
    return and_(column >= part, column < part + "\U0010ffff")


async def _find_indexed(db: AsyncSession) -> re.Pattern[str] | None:
    """Look once a process: an index that is made later is used after a restart."""
    engine = db.get_bind().engine
    if engine.dialect.name != "postgresql":
        return None
    if engine not in _INDEXED:
        # pg_trgm takes for letters what the database's locale does: under C no others than ASCII's, and a text
        # without three letters or digits in a row would be looked for in every row.
        found = await db.scalar(
            text(
                "SELECT lower('Ж' COLLATE \"default\") <> 'Ж' FROM pg_index"
                " WHERE indexrelid = to_regclass('ix_users_trigrams') AND indisvalid"
            )
        )
        _INDEXED[engine] = None if found is None else _WORD if found else _ASCII_WORD
    return _INDEXED[engine]


async def list_discoverable(
    db: AsyncSession, *, name_part: str, cursor: str | None, limit: int
) -> Page[User]:
    """Active, discoverable users whose name key contains the text; raises `InvalidCursor`.

    Without the index of trigrams this reads on through all of them until the page is full.
    """
    statement = (
        select(User)
        .options(raiseload(User.roles))
        .where(
            User.discoverable,
            User.disabled_at.is_(None),
            User.deleted_at.is_(None),
            User.full_name_key.contains(name_part, autoescape=True),
        )
    )
    keyset = Keyset(
        list_id=list_id("discoverable", name_part=name_part), columns=[User.full_name_key, User.id]
    )
    return await read_page(db, statement, keyset=keyset, cursor=cursor, limit=limit)
