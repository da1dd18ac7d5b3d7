"""A real Chromium for tests, driven over the DevTools protocol with the websockets package uvicorn brings.

    async with open_browser(chromium_or_skip()) as browser:
        page = await browser.new_page()
        await page.open(base_url + "/docs")
        await page.click("text=Authorize")
        assert page.csp_violations == [] and page.hosts == {"127.0.0.1"}

A target is a CSS selector, or `text=` and the whole visible text of an element. The first visible one counts.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

WAIT_SECONDS = 15.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-port=0",
    "--window-size=1280,1400",
    # A page that asks for another host is recorded, and gets nothing: no test depends on the internet.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
_FIND = """(target) => {
  const shown = (e) => e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length > 0;
  if (!target.startsWith("text=")) return [...document.querySelectorAll(target)].find(shown) ?? null;
  const says = (e) => e.innerText?.trim() === target.slice(5);
  const found = [...document.body.querySelectorAll("*")].filter((e) => says(e) && shown(e));
  return found.find((e) => e.matches("button, a, [role=button], summary, label")) ?? found.at(-1) ?? null;
}"""


def chromium_or_skip() -> str:
    """Return the path of Chromium (AUTHAPI_CHROMIUM or PATH), or skip the test and say what to install.

    AUTHAPI_REQUIRE_BROWSER=1 makes it fail instead: there a browser test must not go missing unnoticed.
    """
    path = os.environ.get("AUTHAPI_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        reason = "NO BROWSER, nothing of the pages was tested: run `apt-get install chromium`"
        if os.environ.get("AUTHAPI_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


class BrowserError(AssertionError):
    """The page did not do what the test waited for, or its script failed."""


class Browser:
    """One running Chromium: one socket, many pages."""

    def __init__(self, socket_: ClientConnection) -> None:
        self._socket = socket_
        self._last_id = 0
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {}

    async def send(self, method: str, /, *, session_id: str | None = None, **params: Any) -> dict[str, Any]:
        """Send one DevTools command and return its result.

        Raises: BrowserError if Chromium refuses it, TimeoutError if it does not answer.
        """
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": params}
        if session_id:
            message["sessionId"] = session_id
        reply = self._replies[self._last_id] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps(message))
        answer = await asyncio.wait_for(reply, WAIT_SECONDS)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def listen(self) -> None:
        """Hand every message to whoever waits for it, until the socket is closed."""
        with suppress(ConnectionClosed):
            async for text in self._socket:
                message = json.loads(text)
                if "id" in message:
                    reply = self._replies.pop(message["id"], None)
                    if reply is not None and not reply.done():
                        reply.set_result(message)
                elif listener := self._listeners.get(message.get("sessionId", "")):
                    listener(message["method"], message["params"])

    async def new_page(self) -> "Page":
        """Open a tab in a browser context of its own: no cookie and no cache is shared with another page."""
        context = await self.send("Target.createBrowserContext")
        target = await self.send(
            "Target.createTarget", url="about:blank", browserContextId=context["browserContextId"]
        )
        attached = await self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        self._listeners[attached["sessionId"]] = page.on_event
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            await page.send(f"{domain}.enable")
        return page


class Page:
    """One tab, and everything it has said since it was opened."""

    def __init__(self, browser: Browser, session_id: str) -> None:
        self._browser = browser
        self._session_id = session_id
        self.console: list[str] = []
        """`level: text` of console calls, uncaught exceptions and the browser's own log."""
        self.csp_violations: list[str] = []
        """`directive: what was blocked`."""
        self.requests: list[str] = []
        """The URL of every request, also of those that were refused; data: and blob: are none."""
        self.dialogs: list[str] = []
        """The text of every alert, confirm and prompt; each was dismissed."""
        self._dismissals: set[asyncio.Task[dict[str, Any]]] = set()

    @property
    def hosts(self) -> set[str]:
        """The hosts this page has asked for anything."""
        return {urlsplit(url).hostname or "" for url in self.requests}

    async def send(self, method: str, /, **params: Any) -> dict[str, Any]:
        """Send a DevTools command to this tab."""
        return await self._browser.send(method, session_id=self._session_id, **params)

    def on_event(self, method: str, params: dict[str, Any]) -> None:
        """Record one DevTools event."""
        match method:
            case "Network.requestWillBeSent":
                url = params["request"]["url"]
                if urlsplit(url).scheme in {"http", "https", "ws", "wss"}:
                    self.requests.append(url)
            case "Runtime.consoleAPICalled":
                texts = [str(a.get("value", a.get("description", a["type"]))) for a in params["args"]]
                self.console.append(f"{params['type']}: {' '.join(texts)}")
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                text = details.get("exception", {}).get("description", details["text"])
                self.console.append(f"error: {text}")
            case "Log.entryAdded":
                entry = params["entry"]
                self.console.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}".rstrip())
            case "Audits.issueAdded":
                issue = params["issue"]["details"].get("contentSecurityPolicyIssueDetails")
                if issue:
                    blocked = issue.get("blockedURL") or issue["contentSecurityPolicyViolationType"]
                    source = issue.get("sourceCodeLocation", {})
                    where = f"{source.get('url', '')}:{source.get('lineNumber', '')}"
                    self.csp_violations.append(f"{issue['violatedDirective']}: {blocked} at {where}")
            case "Page.javascriptDialogOpening":
                self.dialogs.append(params["message"])
                task = asyncio.ensure_future(self.send("Page.handleJavaScriptDialog", accept=False))
                self._dismissals.add(task)
                task.add_done_callback(self._dismissals.discard)

    async def open(self, url: str) -> None:
        """Go to `url` and wait until it is loaded.

        Raises: BrowserError if there is no such page.
        """
        answer = await self.send("Page.navigate", url=url)
        if "errorText" in answer:
            raise BrowserError(f"{url}: {answer['errorText']}")
        await self.wait_for("document.readyState === 'complete'")

    async def evaluate(self, js: str) -> Any:
        """Return the JSON value of an expression; a promise is awaited. The page's policy does not bind it.

        Raises: BrowserError with the exception it threw.
        """
        answer = await self.send("Runtime.evaluate", expression=js, awaitPromise=True, returnByValue=True)
        if details := answer.get("exceptionDetails"):
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    async def wait_for(self, js: str, *, seconds: float = WAIT_SECONDS) -> Any:
        """Wait until the expression is true and return its value.

        Raises: BrowserError with what the page said, after `seconds`.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            value = await self.evaluate(js)
            if value:
                return value
            if asyncio.get_running_loop().time() > deadline:
                said = "\n".join(self.console + self.csp_violations)
                raise BrowserError(f"waited {seconds} s for {js}\nThe page said:\n{said}")
            await asyncio.sleep(0.05)

    async def text(self, target: str) -> str:
        """Return the visible text of an element, once there is one."""
        return str((await self._with_element(target, "[e.innerText]"))[0])

    async def click(self, target: str) -> None:
        """Click the middle of an element with the mouse."""
        script = (
            "e.scrollIntoView({block: 'center', behavior: 'instant'}), e.getBoundingClientRect().toJSON()"
        )
        box = await self._with_element(target, f"({script})")
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            await self.send("Input.dispatchMouseEvent", type=kind, button=button, clickCount=1, **point)

    async def fill(self, target: str, text: str) -> None:
        """Replace what an input holds, through the events a keyboard would cause."""
        await self._with_element(target, "(e.focus(), e.select(), true)")
        await self.send("Input.insertText", text=text)

    async def screenshot(self, path: Path) -> None:
        """Write what the window shows to `path` as PNG."""
        shot = await self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    async def _with_element(self, target: str, js: str) -> Any:
        """Wait for the element and return the value of `js`, in which it is called `e`."""
        return await self.wait_for(
            f"(() => {{ const e = ({_FIND})({json.dumps(target)}); return e && {js}; }})()"
        )


@asynccontextmanager
async def open_browser(chromium: str) -> AsyncIterator[Browser]:
    """Start Chromium with a fresh profile, and end it and all its processes."""
    with tempfile.TemporaryDirectory(prefix="authapi-browser-", ignore_cleanup_errors=True) as profile:
        # Chromium's sandbox refuses to run as root.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [chromium, *_FLAGS, *sandbox, f"--user-data-dir={profile}", "about:blank"]
        null = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command, stdin=null, stdout=null, stderr=null, start_new_session=True
        )
        try:
            url = await _debugger_url(Path(profile), process)
            # Screenshots and scripts are larger than the default limit of 1 MiB; None takes no proxy.
            async with connect(url, max_size=None, proxy=None) as socket_:
                browser = Browser(socket_)
                listening = asyncio.create_task(browser.listen())
                yield browser
            await listening
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _debugger_url(profile: Path, process: asyncio.subprocess.Process) -> str:
    """Wait for the file in which Chromium writes its port and path."""
    port_file = profile / "DevToolsActivePort"
    deadline = asyncio.get_running_loop().time() + 2 * WAIT_SECONDS
    while asyncio.get_running_loop().time() < deadline and process.returncode is None:
        lines = port_file.read_text().split() if port_file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await asyncio.sleep(0.05)
    raise BrowserError(f"Chromium did not start (exit code {process.returncode})")
