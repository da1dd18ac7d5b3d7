"""A served authapi for clients that were written by others."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
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


ServeAuthapi = Callable[..., AbstractAsyncContextManager[ServedAuthapi]]


@pytest.fixture
def serve_authapi(tmp_path: Path) -> ServeAuthapi:
    """Serves an application: `serve_authapi(access_token={…})`."""

    @asynccontextmanager
    async def start(**overrides: Any) -> AsyncIterator[ServedAuthapi]:
        url = f"sqlite+aiosqlite:///{tmp_path / 'authapi.sqlite3'}"
        await migrations.upgrade(url)
        app = create_app(make_settings(database_url=url, data_dir=tmp_path, **overrides))
        with serve(app) as address:
            yield ServedAuthapi(address, app)

    return start
