"""Bodies that nobody should send, on every route that may get one: never a 5xx (ASVS 1.5.3, 2.2.1).

The application is called as a server would call it, without an HTTP client in between, which makes room for
some ten thousand requests. Each route gets half of the corpus on the one database and the other half on the
other, every second body with an administrator's token.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.types import Message

from tests.support.accounts import Accounts
from tests.support.hostile_json import HOSTILE_JSON, MALFORMED
from tests.support.silence import silence

SOME_ID = "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f"
JSON_TYPE = "application/json"
# A route that declares no body does not read it: a sample is enough.
SAMPLE = dict(list(HOSTILE_JSON.items())[::25])


@dataclass(frozen=True)
class Target:
    """One operation and one media type; None for an operation that declares no body."""

    method: str
    path: str
    media_type: str | None

    def bodies(self, *, half: int) -> dict[str, bytes]:
        """What to send on this database."""
        return dict(list(HOSTILE_JSON.items())[half::2]) if self.media_type else SAMPLE


def targets(app: FastAPI) -> Iterator[Target]:
    """Every operation that may carry a body, its path parameters filled in."""
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            media_types = operation.get("requestBody", {}).get("content", {})
            if media_types or method in {"post", "put", "patch"}:
                for media_type in media_types or [None]:
                    yield Target(method.upper(), re.sub(r"{\w+}", SOME_ID, path), media_type)


async def send(app: FastAPI, target: Target, body: bytes, headers: dict[str, str]) -> int:
    """The status of one request."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def respond(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    all_headers = {
        "Host": "127.0.0.1:5001",
        "Content-Type": target.media_type or JSON_TYPE,
        "Content-Length": str(len(body)),
    } | headers
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": target.method,
        "scheme": "http",
        "path": target.path,
        "raw_path": target.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in all_headers.items()],
        "client": ("203.0.113.7", 40_000),
        "server": ("127.0.0.1", 5001),
        "state": {},
    }
    await app(scope, receive, respond)
    return statuses[0]


async def test_no_body_breaks_a_route(app: FastAPI, accounts: Accounts, database_url: str) -> None:
    assert len(HOSTILE_JSON) // 2 >= 318
    half = int(database_url.startswith("sqlite"))
    wrong: dict[str, int] = {}
    with silence():
        for target in targets(app):
            # A new one each time: some routes end the session.
            admin = await accounts.admin()
            for number, (name, body) in enumerate(target.bodies(half=half).items()):
                with_token = number % 2 == half
                status = await send(app, target, body, admin.headers if with_token else {})
                refused = {400, 413} if name in MALFORMED else set(range(200, 500))
                if status not in refused and (status >= 500 or target.media_type == JSON_TYPE):
                    key = f"{target.method} {target.path} {'with' if with_token else 'without'} token: {name}"
                    wrong[key] = status
    assert wrong == {}


def test_the_routes_are_found(shared_app: FastAPI) -> None:
    found = {(target.method, target.path, target.media_type) for target in targets(shared_app)}
    assert ("POST", "/api/auth/register", JSON_TYPE) in found
    assert ("DELETE", "/api/profile", JSON_TYPE) in found
    assert ("POST", "/api/auth/token", "application/x-www-form-urlencoded") in found
