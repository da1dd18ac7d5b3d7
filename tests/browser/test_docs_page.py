"""The two reference pages in a real browser: they work, ask no other host and never break their policy."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from authapi import migrations
from authapi.api.docs import DOCS_CSP
from authapi.main import create_app
from tests.conftest import make_settings
from tests.support.browser import Browser, Page, chromium_or_skip, open_browser
from tests.support.serving import serve, serve_beside

pytestmark = pytest.mark.browser

EMAIL = "ada@example.com"
PASSWORD = "correct horse Battery 9 staple!"
ME = ".opblock-get:has([data-path='/api/auth/me'])"
STATUS = f"{ME} .live-responses-table tbody .response-col_status"


@pytest.fixture(scope="module")
async def base_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Serve the app and register one user; yields `http://127.0.0.1:port`."""
    directory = tmp_path_factory.mktemp("docs")
    database_url = f"sqlite+aiosqlite:///{directory / 'authapi.sqlite3'}"
    await migrations.upgrade(database_url)
    settings = make_settings(database_url=database_url, data_dir=directory)
    async with serve_beside(create_app(settings)) as url:
        body = {"email": EMAIL, "password": PASSWORD, "full_name": "Ada Lovelace"}
        async with httpx.AsyncClient(base_url=url) as client:
            (await client.post("/api/auth/register", json=body)).raise_for_status()
        yield url


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with open_browser(chromium_or_skip()) as running:
        yield running


@pytest.fixture
async def page(browser: Browser) -> Page:
    return await browser.new_page()


def assert_quiet(page: Page) -> None:
    assert page.csp_violations == []
    assert page.hosts == {"127.0.0.1"}
    assert [line for line in page.console if line.startswith(("error", "warning"))] == []
    assert page.dialogs == []


async def open_swagger_ui(page: Page, base_url: str) -> None:
    await page.open(f"{base_url}/docs")
    await page.click(f"{ME} .opblock-summary-control")
    await page.click(".auth-wrapper .btn.authorize")


async def execute_me(page: Page) -> str:
    """Close the dialog, execute GET /api/auth/me and return what the response table says."""
    await page.click(".dialog-ux .btn-done")
    await page.click(f"{ME} .execute")
    status = await page.text(STATUS)
    assert status.split()[0] == "200"
    return await page.text(f"{ME} .live-responses-table")


class TestSwaggerUI:
    async def test_authorize_by_password(self, page: Page, base_url: str, tmp_path: Path) -> None:
        await open_swagger_ui(page, base_url)
        await page.fill("#oauth_username", EMAIL)
        await page.fill("#oauth_password", PASSWORD)
        await page.screenshot(tmp_path / "docs-authorize.png")
        await page.click(".auth-container:has(#oauth_username) .authorize")
        await page.wait_for("document.querySelector('.dialog-ux').innerText.includes('Logout')")
        assert EMAIL in await execute_me(page)
        await page.screenshot(tmp_path / "docs-me.png")
        assert_quiet(page)

    async def test_authorize_by_pasted_token(self, page: Page, base_url: str, tmp_path: Path) -> None:
        form = {"grant_type": "password", "username": EMAIL, "password": PASSWORD}
        async with httpx.AsyncClient(base_url=base_url) as client:
            answer = await client.post("/api/auth/token", data=form)
        token = answer.raise_for_status().json()["access_token"]
        await open_swagger_ui(page, base_url)
        await page.fill("#auth-bearer-value", token)
        await page.click(".auth-container:has(#auth-bearer-value) .authorize")
        await page.wait_for("document.querySelector('.dialog-ux').innerText.includes('Logout')")
        assert EMAIL in await execute_me(page)
        await page.screenshot(tmp_path / "docs-pasted.png")
        assert_quiet(page)

    async def test_token_is_not_stored(self, page: Page, base_url: str) -> None:
        await open_swagger_ui(page, base_url)
        await page.fill("#auth-bearer-value", "a-pasted-token")
        await page.click(".auth-container:has(#auth-bearer-value) .authorize")
        await page.wait_for("document.querySelector('.dialog-ux').innerText.includes('Logout')")
        assert await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"

    async def test_foreign_document_in_the_link_is_ignored(self, page: Page, base_url: str) -> None:
        await page.open(f"{base_url}/docs?url=https://attacker.example/openapi.json")
        await page.text(ME)
        assert_quiet(page)

    async def test_dark_colour_scheme(self, page: Page, base_url: str, tmp_path: Path) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark"}]
        await page.send("Emulation.setEmulatedMedia", features=features)
        await page.open(f"{base_url}/docs")
        await page.text(ME)
        await page.screenshot(tmp_path / "docs-dark.png")
        assert await page.evaluate("document.documentElement.classList.contains('dark-mode')")
        assert_quiet(page)

    async def test_page_names_itself(self, page: Page, base_url: str) -> None:
        await page.open(f"{base_url}/docs")
        assert await page.evaluate("document.title") == "authapi: interactive API reference"
        assert await page.evaluate("document.documentElement.lang") == "en"


class TestReDoc:
    async def test_operations_are_rendered(self, page: Page, base_url: str, tmp_path: Path) -> None:
        await page.open(f"{base_url}/redoc")
        await page.wait_for("document.querySelectorAll('[data-section-id^=\"tag/auth\"] h2').length >= 3")
        text = await page.text("#redoc")
        assert "/api/auth/me" in text
        assert "BearerToken" in text
        # The styles arrived: without the nonce the page is there, but bare.
        assert (
            await page.evaluate("getComputedStyle(document.querySelector('.menu-content')).position")
            == "sticky"
        )
        await page.click("[role=menuitem] label")
        await page.click("#redoc button[aria-expanded=false], #redoc button:has(strong)")
        await page.screenshot(tmp_path / "redoc.png")
        assert_quiet(page)

    async def test_page_names_itself(self, page: Page, base_url: str) -> None:
        await page.open(f"{base_url}/redoc")
        assert await page.evaluate("document.title") == "authapi: API reference"
        assert await page.evaluate("document.documentElement.lang") == "en"


class TestHarness:
    """The silence asserted above means something: what the policy forbids is seen when it happens."""

    async def test_violations_and_foreign_hosts_are_recorded(self, page: Page) -> None:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.get("/bad")
        async def bad() -> HTMLResponse:
            html = (
                "<title>x</title><p style='color: red'>x</p><script>window.ran = 1</script>"
                "<script src='https://cdn.example/x.js'></script><img src='https://logo.example/x.png'>"
            )
            return HTMLResponse(html, headers={"Content-Security-Policy": DOCS_CSP})

        @app.get("/foreign")
        async def foreign() -> HTMLResponse:
            return HTMLResponse(
                "<title>x</title><img src='https://logo.example/x.png'><script>alert(7)</script>"
            )

        with serve(app) as url:
            await page.open(f"{url}/bad")
            broken = sorted(violation.split(":")[0] for violation in page.csp_violations)
            assert broken == ["img-src", "script-src-elem", "script-src-elem", "style-src-attr"]
            assert await page.evaluate("window.ran") is None
            await page.open(f"{url}/foreign")
            assert "logo.example" in page.hosts
            assert page.dialogs == ["7"]
