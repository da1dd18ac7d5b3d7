"""A served authapi for clients that were written by others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from authapi import migrations
from authapi.main import create_app
from tests.conftest import make_settings
from tests.support.accounts import PASSWORD
from tests.support.serving import serve


@dataclass(frozen=True)
class ServedAuthapi:
    """An authapi on a real port, on a database of its own."""

    url: str
    app: FastAPI

    @property
    def issuer(self) -> str:
        issuer: str = self.app.state.runtime.tokens.issuer
        return issuer

    async def register(self, email: str = "ada@example.com") -> dict[str, Any]:
        """Make a user; returns what the registration answers."""
        body = {"email": email, "password": PASSWORD, "full_name": "Ada Lovelace"}
        async with httpx.AsyncClient(base_url=self.url) as client:
            response = await client.post("/api/auth/register", json=body)
        assert response.status_code == 201, response.text
        data: dict[str, Any] = response.json()["data"]
        return data


@asynccontextmanager
async def served_authapi(directory: Path, **overrides: Any) -> AsyncIterator[ServedAuthapi]:
    """Serve an application with its SQLite file in `directory`: `served_authapi(tmp_path, cors={…})`."""
    url = f"sqlite+aiosqlite:///{directory / 'authapi.sqlite3'}"
    await migrations.upgrade(url)
    app = create_app(make_settings(database_url=url, data_dir=directory, **overrides))
    async with served_beside(app) as address:
        yield ServedAuthapi(address, app)


@asynccontextmanager
async def served_beside(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application without blocking this loop meanwhile.

    On SQLite its start waits for the write lock, which a task of this loop may be holding.
    """
    server = serve(app)
    address = await asyncio.to_thread(server.__enter__)
    try:
        yield address
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)
