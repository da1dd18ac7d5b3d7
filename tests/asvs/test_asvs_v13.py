"""Configuration: what is not reachable and not shipped."""

import re

import httpx
import pytest
from fastapi import FastAPI

from tests.asvs import sources
from tests.asvs.conftest import Answer, routes
from tests.conftest import MakeApp, http_client

pytestmark = pytest.mark.one_database

DIRECTORIES = (
    "/docs/assets",
    "/docs/assets/",
    "/pages",
    "/pages/",
    "/static",
    "/.git/config",
    "/api",
    "/dev/",
)
# What a leaked key looks like in a source: PEM, our own tokens, those of large providers.
KEYS = re.compile(r"BEGIN [A-Z ]*PRIVATE KEY|authapi_[a-z]+_[\w-]{40}|AKIA[0-9A-Z]{16}|ghp_\w{36}")


def test_asvs_13_3_1() -> None:
    """No key is in a file that is shipped."""
    kinds = {".py", ".md", ".yaml", ".yml", ".sh", ".html"}
    texts = [
        path
        for folder in ("src/authapi", "alembic", "deploy", "docs")
        for path in (sources.ROOT / folder).rglob("*")
        if path.suffix in kinds and path.is_file()
    ] + [sources.ROOT / name for name in ("README.md", ".env.example", "Dockerfile", "Makefile")]
    assert len(texts) > 100
    assert not [str(path) for path in texts if KEYS.search(path.read_text())]


async def test_asvs_13_4_2(app: FastAPI, answers: list[Answer]) -> None:
    """Debug is off, and no answer of the walk shows a piece of a traceback."""
    assert app.debug is False
    telling = re.compile(r'Traceback|File "/|sqlalchemy|asyncpg|site-packages')
    assert not [a.request for a in answers if a.path != "/openapi.json" and telling.search(a.response.text)]


@pytest.mark.parametrize("path", DIRECTORIES)
async def test_asvs_13_4_3(path: str, client: httpx.AsyncClient) -> None:
    assert (await client.get(path)).status_code == 404


async def test_asvs_13_4_4(https_app: FastAPI) -> None:
    """TRACE is refused everywhere and repeats nothing."""
    async with http_client(https_app) as client:
        for path in sorted({path for _, path in routes(https_app) if not path.startswith("/verify/")}):
            response = await client.request("TRACE", path, headers={"X-Canary": "repeat-me"})
            assert response.status_code == 405, path
            assert "repeat-me" not in response.text


async def test_asvs_13_4_5(make_app: MakeApp) -> None:
    """Production shows neither its documentation nor its numbers nor a developer's mailbox."""
    async with (
        make_app(environment="production", public_url="https://auth.example.org") as app,
        http_client(app) as client,
    ):
        for path in ("/docs", "/redoc", "/openapi.json", "/docs/assets/docs.css", "/metrics", "/dev/mail"):
            assert (await client.get(path)).status_code == 404, path


async def test_asvs_13_4_6(answers: list[Answer]) -> None:
    """No answer names the software (level 3)."""
    assert not [a.request for a in answers if {"server", "x-powered-by"} & set(a.headers)]
