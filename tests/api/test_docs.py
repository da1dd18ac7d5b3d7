"""The reference pages and their files over HTTP; tests/browser/test_docs_page.py shows them to a browser."""

import hashlib
import re
from collections.abc import AsyncIterator
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from authapi.api.docs import BEARER_SCHEME, DOCS_CSP, add_bearer_alternative, load_assets, mount_docs
from authapi.enums import Environment
from authapi.main import create_app
from authapi.rate_limit import RateLimits
from authapi.setting_groups import DocsSettings, RateLimitSettings
from tests.conftest import make_settings

pytestmark = pytest.mark.one_database

STATIC = files("authapi") / "static" / "docs"
OURS = {"VENDORED.md", "docs.css", "redoc-init.js", "swagger-init.js"}


@pytest.fixture
async def docs_client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(title="a <b> & c", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.rate_limits = RateLimits(RateLimitSettings())
    mount_docs(app)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class TestVendoredFiles:
    def test_digests_are_the_noted_ones(self) -> None:
        noted = dict(re.findall(r"^\| `(.+?)` \| .+ \| `([0-9a-f]{64})` \|$", self.note(), re.MULTILINE))
        found = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in STATIC.iterdir()}
        assert {name: digest for name, digest in found.items() if name not in OURS} == noted

    def test_every_page_file_is_served_and_no_source_map(self) -> None:
        present = {f.name for f in STATIC.iterdir()}
        assert set(load_assets()) <= present
        assert not [name for name in present if name.endswith(".map")]

    @staticmethod
    def note() -> str:
        return (STATIC / "VENDORED.md").read_text(encoding="utf-8")


class TestPages:
    @pytest.mark.parametrize("path", ["/docs", "/redoc"])
    async def test_no_other_host_and_nothing_inline(self, docs_client: httpx.AsyncClient, path: str) -> None:
        page = await docs_client.get(path)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "//" not in page.text
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page.text)
        assert '<html lang="en">' in page.text
        assert "<title>a &lt;b&gt; &amp; c: " in page.text

    @pytest.mark.parametrize("path", ["/docs", "/redoc"])
    async def test_linked_files_exist(self, docs_client: httpx.AsyncClient, path: str) -> None:
        page = await docs_client.get(path)
        links = re.findall(r'(?:href|src)="(docs/assets/[^"]+)"', page.text)
        assert len(links) >= 4
        for link in links:
            assert (await docs_client.get(f"/{link}")).status_code == 200, link

    async def test_swagger_ui_has_the_plain_policy(self, docs_client: httpx.AsyncClient) -> None:
        assert (await docs_client.get("/docs")).headers["content-security-policy"] == DOCS_CSP

    async def test_redoc_nonce_is_fresh_and_for_styles_only(self, docs_client: httpx.AsyncClient) -> None:
        nonces = set()
        for _ in range(2):
            page = await docs_client.get("/redoc")
            assert page.headers["cache-control"] == "no-store"
            found = re.findall(r"(\S+) 'self' 'nonce-([\w-]{22})'", page.headers["content-security-policy"])
            assert [directive for directive, _ in found] == ["style-src"]
            assert f'nonce="{found[0][1]}"' in page.text
            nonces.add(found[0][1])
        assert len(nonces) == 2

    async def test_not_in_the_document(self, docs_client: httpx.AsyncClient) -> None:
        assert (await docs_client.get("/openapi.json")).json()["paths"] == {}


class TestDocument:
    async def test_what_the_application_says_of_itself(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        answer = await client.get("/openapi.json")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.json() == app.openapi()

    async def test_head(self, docs_client: httpx.AsyncClient) -> None:
        assert (await docs_client.head("/openapi.json")).status_code == 200

    async def test_it_is_limited_like_the_pages(self, docs_client: httpx.AsyncClient) -> None:
        first, second = [await docs_client.get("/openapi.json") for _ in range(2)]
        assert first.headers["x-ratelimit-limit"] == "100"
        assert (first.headers["x-ratelimit-remaining"], second.headers["x-ratelimit-remaining"]) == (
            "99",
            "98",
        )

    async def test_production_does_not_serve_it(self, tmp_path: Path) -> None:
        for enabled in (None, True):
            settings = make_settings(
                database_url="sqlite+aiosqlite:///none", data_dir=tmp_path, docs=DocsSettings(enabled=enabled)
            )
            settings = settings.model_copy(update={"environment": Environment.PRODUCTION})
            paths = {context.path for context in iter_route_contexts(create_app(settings).routes)}
            assert ("/openapi.json" in paths) is (enabled is True)


class TestAssets:
    async def test_cached_by_digest(self, docs_client: httpx.AsyncClient) -> None:
        first = await docs_client.get("/docs/assets/swagger-init.js")
        assert first.headers["content-type"] == "text/javascript; charset=utf-8"
        assert "immutable" in first.headers["cache-control"]
        etag = first.headers["etag"]
        again = await docs_client.get("/docs/assets/swagger-init.js", headers={"If-None-Match": f"W/{etag}"})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)

    @pytest.mark.parametrize(
        "name", ["", "VENDORED.md", "..%2f..%2fsettings.py", "%2e%2e/%2e%2e/settings.py", "x.js", "%00"]
    )
    async def test_only_listed_names(self, docs_client: httpx.AsyncClient, name: str) -> None:
        assert (await docs_client.get(f"/docs/assets/{name}")).status_code == 404


class TestAddBearerAlternative:
    def document(self) -> dict[str, Any]:
        password_scheme = {"type": "oauth2", "flows": {"password": {"tokenUrl": "/t", "scopes": {}}}}
        return {
            "paths": {
                "/open": {"get": {}, "summary": "s", "parameters": []},
                "/guarded": {"get": {"security": [{"OAuth2PasswordBearer": ["users:read"]}]}},
                "/basic": {"get": {"security": [{"HTTPBasic": []}]}},
                "/optional": {"get": {"security": [{}, {"OAuth2PasswordBearer": [], "Device": []}]}},
            },
            "components": {"securitySchemes": {"OAuth2PasswordBearer": password_scheme}},
        }

    def test_guarded_operations_take_either(self) -> None:
        before = self.document()
        after = add_bearer_alternative(before)
        assert before == self.document(), "the input is left alone"
        security = {path: item["get"].get("security") for path, item in after["paths"].items()}
        assert security == {
            "/open": None,
            "/guarded": [{"OAuth2PasswordBearer": ["users:read"]}, {"BearerToken": []}],
            "/basic": [{"HTTPBasic": []}],
            "/optional": [
                {},
                {"OAuth2PasswordBearer": [], "Device": []},
                {"BearerToken": [], "Device": []},
            ],
        }
        scheme = after["components"]["securitySchemes"][BEARER_SCHEME]
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")

    def test_twice_is_once(self) -> None:
        once = add_bearer_alternative(self.document())
        assert add_bearer_alternative(deepcopy(once)) == once

    def test_document_without_the_scheme_is_unchanged(self) -> None:
        assert add_bearer_alternative({"paths": {}}) == {"paths": {}}
