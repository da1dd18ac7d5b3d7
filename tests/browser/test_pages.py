"""The pages that mails lead to in a real browser, walked through by clicking, with and without JavaScript."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from authapi.services import mail_links
from tests.support.accounts import PASSWORD
from tests.support.browser import Browser, Page, chromium_or_skip, open_browser
from tests.support.mails import Mails, new_address
from tests.support.served_authapi import ServedAuthapi, served_authapi

pytestmark = pytest.mark.browser

NEW_PASSWORD = "another Horse 8 staple"
# AUTHAPI_TEST_SCREENSHOTS=docs/screenshots renews the pictures of the documentation.
SCREENSHOTS = os.environ.get("AUTHAPI_TEST_SCREENSHOTS")
# WCAG 2.2: the ratio of the luminances of text and ground, over everything that is shown.
CONTRAST = """(() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((e) =>
    [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.matches("input:not([type=hidden])"));
  return Math.min(...texts.map((e) => {
    const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(ground(e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()"""


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedAuthapi]:
    directory = tmp_path_factory.mktemp("pages")
    async with served_authapi(directory, pages={"return_url": "https://app.example.com/"}) as served:
        yield served


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with open_browser(chromium_or_skip()) as running:
        yield running


@pytest.fixture(params=["with script", "without script"])
async def page(browser: Browser, request: pytest.FixtureRequest) -> Page:
    page = await browser.new_page()
    if request.param == "without script":
        await page.send("Emulation.setScriptExecutionDisabled", value=True)
    return page


class Person:
    """Has an account whose address is unverified, and reads mails."""

    def __init__(self, served: ServedAuthapi) -> None:
        self.email = new_address()
        self._served = served
        self._mails = Mails(served.app)

    async def post(self, path: str, **body: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self._served.url) as client:
            return await client.post(path, json=body)

    async def register(self) -> "Person":
        response = await self.post(
            "/api/auth/register", email=self.email, password=PASSWORD, full_name="Ada Lovelace"
        )
        assert response.status_code == 201
        return self

    async def link(self, page: str) -> str:
        """The mail's link, on the port of this test's server."""
        link = await self._mails.link(self.email, page)
        return link.replace(self._served.app.state.runtime.settings.base_url, self._served.url)

    async def can_log_in(self, password: str) -> bool:
        response = await self.post("/api/auth/login", email=self.email, password=password)
        return response.status_code == 200


@pytest.fixture
async def person(served: ServedAuthapi) -> Person:
    return await Person(served).register()


def assert_quiet(page: Page, served: ServedAuthapi) -> None:
    assert page.csp_violations == []
    assert page.hosts == {"127.0.0.1"}
    assert [line for line in page.console if line.startswith(("error", "warning"))] == []
    assert page.dialogs == []
    # What the page loads names no token, in its address or as a referrer.
    assert all("token=" not in url for url in page.requests if "/pages/" in url)


async def colours(page: Page, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await page.send("Emulation.setEmulatedMedia", features=features)


async def picture(page: Page, name: str, *, width: int = 640) -> None:
    """Keep a picture of the whole page, if the documentation's are to be renewed."""
    if SCREENSHOTS:
        metrics = {"width": width, "height": 1, "deviceScaleFactor": 1, "mobile": True}
        # Twice: the space above depends on the height.
        for _ in range(2):
            await page.send("Emulation.setDeviceMetricsOverride", **metrics)
            metrics["height"] = await page.evaluate("document.documentElement.scrollHeight")
        await page.send("Emulation.setDeviceMetricsOverride", **metrics)
        await page.screenshot(Path(SCREENSHOTS) / f"{name}.png")
        await page.send("Emulation.clearDeviceMetricsOverride")


async def title(page: Page, wanted: str) -> None:
    """Wait for the page with this heading."""
    await page.wait_for(f"document.querySelector('h1')?.innerText === {wanted!r}")


async def test_verify(page: Page, served: ServedAuthapi, person: Person) -> None:
    await page.open(await person.link(mail_links.VERIFY_EMAIL))
    await title(page, "Confirm your e-mail address")
    shown = await page.text("main")
    assert person.email in shown
    assert "127.0.0.1" in shown
    await picture(page, "verify-email")
    await page.click("text=Confirm e-mail address")
    await title(page, "E-mail address confirmed")
    assert "token=" not in await page.evaluate("location.href")
    assert await page.evaluate("document.querySelector('.return a').href") == "https://app.example.com/"
    assert_quiet(page, served)


async def test_disown(page: Page, served: ServedAuthapi, person: Person) -> None:
    await page.open(await person.link(mail_links.VERIFY_EMAIL))
    await page.click("text=This was not me: remove the account")
    await title(page, "The account is removed")
    assert not await person.can_log_in(PASSWORD)
    assert_quiet(page, served)


async def test_forgot_then_reset(page: Page, served: ServedAuthapi, person: Person) -> None:
    await page.open(f"{served.url}/.well-known/change-password")
    await title(page, "Forgot your password?")
    await picture(page, "forgot-password")
    await page.fill("#email", person.email)
    await page.click("text=Send the link")
    await title(page, "Check your inbox")

    await page.open(await person.link(mail_links.RESET_PASSWORD))
    await title(page, "Choose a new password")
    await page.fill("#password", "tooshort")
    await page.click("text=Change the password")
    assert "Add a digit." in await page.text("#reasons")
    # The refused password is not sent back, and the fields still have their names.
    assert await page.evaluate("document.querySelector('#password').value") == ""
    await picture(page, "reset-password-refused")
    await page.fill("#password", NEW_PASSWORD)
    await page.click("text=Change the password")
    await title(page, "Your password is changed")
    assert await person.can_log_in(NEW_PASSWORD)
    assert not await person.can_log_in(PASSWORD)
    page.console = [line for line in page.console if "422" not in line]
    assert_quiet(page, served)


async def test_a_used_link(page: Page, served: ServedAuthapi, person: Person) -> None:
    link = await person.link(mail_links.VERIFY_EMAIL)
    await page.open(link)
    await page.click("text=Confirm e-mail address")
    await title(page, "E-mail address confirmed")
    await page.open(link)
    # Nothing to do but to ask for another one: the page of the link is also where that is done.
    await title(page, "Ask for a new link")
    assert "This link does not work any more." in await page.text("[role=alert]")
    await page.fill("#email", person.email)
    await page.click("text=Send the link")
    await title(page, "Check your inbox")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_contrast_and_small_screens(
    browser: Browser, served: ServedAuthapi, person: Person, scheme: str
) -> None:
    page = await browser.new_page()
    await colours(page, scheme)
    await person.post("/api/auth/password/forgot", email=person.email)
    for path in (mail_links.VERIFY_EMAIL, mail_links.RESET_PASSWORD):
        await page.open(await person.link(path))
        # WCAG 2.2, 1.4.3: 4.5 to 1.
        assert await page.evaluate(CONTRAST) >= 4.5
        if scheme == "dark":
            await picture(page, f"{path[1:]}-dark", width=360)
        narrow = {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": True}
        await page.send("Emulation.setDeviceMetricsOverride", **narrow)
        # WCAG 2.2, 1.4.10: nothing scrolls sideways.
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
        await page.send("Emulation.clearDeviceMetricsOverride")
    assert_quiet(page, served)


@pytest.mark.parametrize("language", ["de", "fr", "es", "hi"])
async def test_speaks_the_language_of_the_browser(
    browser: Browser, served: ServedAuthapi, person: Person, language: str
) -> None:
    page = await browser.new_page()
    await page.send("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
    await page.open(await person.link(mail_links.VERIFY_EMAIL))
    assert await page.evaluate("document.documentElement.lang") == language
    assert "Somebody made an account" not in await page.text("main")
    if language == "de":
        await picture(page, "verify-email-de")


async def test_every_field_has_a_label_and_the_keyboard_shows_where_it_is(
    browser: Browser, served: ServedAuthapi, person: Person
) -> None:
    page = await browser.new_page()
    await person.post("/api/auth/password/forgot", email=person.email)
    await page.open(await person.link(mail_links.RESET_PASSWORD))
    unlabelled = "[...document.querySelectorAll('input:not([type=hidden])')].filter((e) => !e.labels.length)"
    assert await page.evaluate(f"{unlabelled}.length") == 0
    for _ in range(3):
        for kind in ("keyDown", "keyUp"):
            await page.send(
                "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
            )
    assert await page.evaluate("document.activeElement.tagName") == "BUTTON"
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
