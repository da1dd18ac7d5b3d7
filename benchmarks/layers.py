"""What each layer of middleware, the log line, a limit and the check of a token cost, one by one.

    python -m benchmarks.layers [--json FILE]

Each stands alone around an application that answers at once, and takes turns with that application by itself: the
difference is what it costs. Microseconds of CPU in a loop with nothing else in it; among other work, with colder
caches, it is two to three times as much.
"""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authapi import clock
from authapi.logs import configure_logging
from authapi.main import create_app
from authapi.middleware.request_context import RequestContextMiddleware
from authapi.rate_limit import RateLimits, rate_limit_header_lines
from authapi.runtime import Runtime
from authapi.security.signing_keys import Algorithm, generate_signing_key
from authapi.setting_groups import RateLimitSettings
from authapi.settings import load_settings
from authapi.token_authority import TimedKey
from benchmarks.figures import Figures, arguments_of
from benchmarks.servers import PLENTY

REQUESTS = 50
TURNS = 300
BODY = b"x" * 300
ALL = "all of them, as in the service"


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The application inside: an answer like that of `GET /api/auth/me`."""
    headers = [(b"content-length", str(len(BODY)).encode()), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def layers(app: FastAPI) -> dict[str, ASGIApp]:
    """Each of the application's layers alone, by name and outermost first; then all of them around each other."""
    alone = {_name(entry): entry.cls(answer, *entry.args, **entry.kwargs) for entry in app.user_middleware}
    stack: ASGIApp = answer
    for entry in reversed(app.user_middleware):
        stack = entry.cls(stack, *entry.args, **entry.kwargs)
    return alone | {ALL: stack}


def _name(entry: Middleware) -> str:
    return getattr(entry.cls, "__name__", str(entry.cls))


def limit() -> ASGIApp:
    """The limit of a user, counted in memory, and its headers."""
    limits = RateLimits(RateLimitSettings(user=PLENTY), identify=lambda _: "somebody")

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        await limits.spend(Request(scope), name="user", endpoint="me")
        rate_limit_header_lines(scope)
        await answer(scope, receive, send)

    return limited


def token_checks(runtime: Runtime) -> dict[str, ASGIApp]:
    """The check of a token that is known, and that of one that is new."""
    # Nobody follows them here; for longer than this takes.
    runtime.revocations.confirm(read_at=time.monotonic() + 3600)
    now = clock.utc_now()
    runtime.tokens.use_keys([TimedKey(generate_signing_key(Algorithm.ES256), now, None)])

    def issue() -> str:
        return runtime.tokens.issue_for_client(
            client_id=secrets.token_hex(8), scope="", issued_at=now, not_before=None
        ).token

    known = issue()
    new = iter([issue() for _ in range(REQUESTS * TURNS + 1)])

    def checking(next_token: Callable[[], str]) -> ASGIApp:
        async def check(scope: Scope, receive: Receive, send: Send) -> None:
            runtime.tokens.verify(next_token())
            await answer(scope, receive, send)

        return check

    return {
        "check of a known token": checking(lambda: known),
        "check of a new token (ES256)": checking(lambda: next(new)),
    }


async def measure(application: FastAPI, apps: dict[str, ASGIApp]) -> dict[str, float]:
    """Microseconds of CPU that each takes more than `answer`; the best of many turns."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Message) -> None: ...

    best = dict.fromkeys(("", *apps), float("inf"))
    for _ in range(TURNS):
        for name, app in {"": answer, **apps}.items():
            started = time.process_time()
            for _ in range(REQUESTS):
                await app(request(application), receive, send)
            best[name] = min(best[name], (time.process_time() - started) / REQUESTS)
    return {name: (best[name] - best[""]) * 1e6 for name in apps}


def request(application: FastAPI) -> Scope:
    """`GET /api/auth/me` as uvicorn and the application hand it on."""
    path = "/api/auth/me"
    headers = [(b"host", b"127.0.0.1"), (b"accept", b"*/*"), (b"authorization", b"Bearer " + b"x" * 400)]
    values: dict[str, Any] = {
        "app": application,
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "scheme": "http",
        "client": ("203.0.113.7", 50_000),
        "headers": headers,
        "state": {},
    }
    return values


async def run(figures: Figures) -> None:
    app = create_app(load_settings())
    apps = layers(app) | {"limit per user": limit()}
    logged = await measure(app, apps)
    logging.getLogger().setLevel(logging.WARNING)
    name = RequestContextMiddleware.__name__
    silent = await measure(app, {name: apps[name]})
    for layer, microseconds in logged.items():
        figures.add(layer, microseconds=microseconds)
        if layer == name:
            figures.add("  of which the log line", microseconds=microseconds - silent[name])
    for check, microseconds in (await measure(app, token_checks(app.state.runtime))).items():
        figures.add(check, microseconds=microseconds)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments, options = arguments_of(parser)
    figures = Figures("layers", options)
    with tempfile.TemporaryFile("w") as log:
        configure_logging(format="json", level="info", stream=log)
        asyncio.run(run(figures))
    return figures.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
