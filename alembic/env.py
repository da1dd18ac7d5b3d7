"""Runs migrations on the connection that authapi hands in, or on the configured database for developers."""

import asyncio
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from alembic import context
from authapi.migrations import open_for_migration
from authapi.models import Base
from authapi.models.base import UtcDateTime
from authapi.settings import load_settings


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write our own column type as the plain one, so that migrations do not import the application."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Leave out the one index that some servers cannot have, which the models therefore do not name."""
    return not (kind == "index" and name == "ix_users_trigrams")


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        render_item=render_item,
        include_name=include_name,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_on_configured_database() -> None:
    database = open_for_migration(load_settings().database_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(run)
    await database.close()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_on_configured_database())
