"""The whole application behind https, asked once: what the walks over its routes look at."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from authapi import migrations
from authapi.main import create_app
from authapi.settings import Settings
from tests.conftest import http_client, make_settings, running_app
from tests.support.accounts import Accounts

PUBLIC_URL = "https://auth.example.org"
APP_ORIGIN = "https://app.example.org"
SOME_ID = "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f"
NO_WALK = {"/api/auth/logout", "/api/auth/logout-all"}


@dataclass(frozen=True)
class Answer:
    """What one request was answered with."""

    request: str
    response: httpx.Response

    @property
    def headers(self) -> httpx.Headers:
        return self.response.headers

    @property
    def path(self) -> str:
        return self.request.split(" ")[1]


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Each method and path of the application, an id that nobody has in place of parameters."""
    for context in iter_route_contexts(app.routes):
        for method in sorted(context.methods or ()):
            yield method, re.sub(r"{[^}]+}", SOME_ID, context.path or "")


@pytest.fixture(scope="session")
async def https_app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FastAPI]:
    """An application whose public URL is https, with one origin on its CORS list."""
    directory = tmp_path_factory.mktemp("asvs")
    url = f"sqlite+aiosqlite:///{directory / 'authapi.sqlite3'}"
    await migrations.upgrade(url)
    settings = make_settings(
        database_url=url, data_dir=directory, public_url=PUBLIC_URL, cors={"allowed_origins": APP_ORIGIN}
    )
    async with running_app(settings) as app:
        yield app


@pytest.fixture(scope="session")
async def answers(https_app: FastAPI) -> list[Answer]:
    """Every route asked by nobody and by an administrator, and what goes wrong before a route is found."""
    found: list[Answer] = []
    async with http_client(https_app) as client:
        admin = await Accounts(client, https_app.state.runtime).admin("walker@example.com")
        for method, path in sorted(set(routes(https_app))):
            for who, headers in (("nobody", {}), ("admin", admin.headers)):
                if who == "admin" and path in NO_WALK:
                    continue
                response = await client.request(method, path, headers=headers)
                found.append(Answer(f"{method} {path} {who}", response))
        strange: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "/nowhere", {}),
            ("GET", "/api/auth/me/", {}),
            ("TRACE", "/api/auth/login", {}),
            ("POST", "/api/auth/login", {"json": {}}),
            ("POST", "/api/auth/login", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
            ("POST", "/api/auth/login", {"content": b"x" * 100_000}),
            ("GET", "/api/public/search?q=" + "x" * 9000, {}),
            ("OPTIONS", "/api/auth/login", {"headers": {"Origin": "https://evil.example"}}),
        ]
        for method, path, options in strange:
            response = await client.request(method, path, **options)
            found.append(Answer(f"{method} {path[:60]} strange", response))
    assert {answer.response.status_code for answer in found} >= {200, 400, 401, 404, 405, 413, 414, 422}
    return found


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI document."""
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("document")))
    described: dict[str, Any] = app.openapi()
    return described


@pytest.fixture(scope="session")
def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each operation of the document as "METHOD /path" and its description."""
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "responses" in operation
    ]
