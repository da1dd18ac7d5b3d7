"""Migrated databases of either kind, on the servers of the session."""

from pathlib import Path
from uuid import uuid4

import pytest

from authapi import migrations


def kind_of(url: str) -> str:
    """`sqlite` or `postgresql`."""
    return url.partition("+")[0]


async def migrated_database(request: pytest.FixtureRequest, kind: str, directory: Path) -> str:
    """The URL of a new database with the current schema; one of SQLite is a file in `directory`."""
    if kind == "sqlite":
        url = f"sqlite+aiosqlite:///{directory / 'authapi.sqlite3'}"
    else:
        server = request.getfixturevalue("postgres_server")
        name = f"authapi_{uuid4().hex[:12]}"
        server.create_database(name)
        url = server.url(name)
    await migrations.upgrade(url)
    return url
