"""Gives every request an id, a context and one access log line."""

import logging
import re
import time
from collections.abc import Mapping
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from authapi import request_context
from authapi.access_log import ACCESS_LOG
from authapi.request_context import HAS_LEFT, STATUS, RequestContext, never_left

# A request id is copied into logs, headers and audit rows: nothing but these characters may get there.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_USER_AGENT_LENGTH = 256


class RequestContextMiddleware:
    """Binds the `RequestContext`, answers with `X-Request-ID` and logs each request once (ASVS 16.2.1).

    Belongs inside of the layer that sets `scope["client"]`, and outside of whatever answers or logs. An incoming
    `X-Request-ID` is kept if it is 8 to 64 characters of `A-Za-z0-9._-`. What proxies and probes are granted is
    logged at DEBUG: they ask with every request of a whole site. The log names the route's template: the raw
    path and the query string may hold one-time tokens.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        context = _describe(scope)
        id_header = (b"x-request-id", (context.request_id or "").encode())
        status: int | None = None
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                scope[STATUS] = None if context.has_left() else status
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        with request_context.bind(context):
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                ACCESS_LOG.write(
                    context,
                    method=scope["method"],
                    route=route_template(scope),
                    status=status,
                    duration_ms=round((time.perf_counter() - started) * 1000, 1),
                    level=logging.DEBUG if _is_routine(scope, status) else logging.INFO,
                )


def route_template(scope: Scope) -> str:
    """Returns the path template of the route that took the request, `unmatched` if none did."""
    # An included router's route knows its path without the prefix; the effective context knows all of it.
    context = scope.get("fastapi", {}).get("effective_route_context")
    for route in (context, scope.get("route")):
        template = getattr(route, "path_format", None) or getattr(route, "path", None)
        if isinstance(template, str):
            return template
    return "unmatched"


def _is_routine(scope: Scope, status: int | None) -> bool:
    """Whether a machine asks this all day long: a proxy for each request of a site, a probe, a scraper.

    The proxy has a log of its own and the metrics count; what is refused is worth a line all the same.
    """
    is_service = getattr(scope.get("endpoint"), "rate_limit_name", None) == "service"
    return is_service and status is not None and status < 400


def _describe(scope: Scope) -> RequestContext:
    headers = dict(scope["headers"])
    client = scope.get("client")
    return RequestContext(
        request_id=choose_request_id(headers),
        ip=client[0] if client else None,
        user_agent=_clean(headers.get(b"user-agent")),
        has_left=scope.get(HAS_LEFT, never_left),
    )


def choose_request_id(headers: Mapping[bytes, bytes]) -> str:
    """The id that the caller offers, if it is harmless, or a new one."""
    offered = headers.get(b"x-request-id")
    if offered is not None and _REQUEST_ID.fullmatch(text := offered.decode("latin-1")):
        return text
    return str(uuid7())


@lru_cache(maxsize=1024)
def _clean(user_agent: bytes | None) -> str | None:
    """Drops what could break a log line, a mail or a terminal: control, format and separator characters."""
    if user_agent is None:
        return None
    # Other than most headers: names of devices are often UTF-8.
    text = user_agent.decode("utf-8", "replace")
    return (
        "".join(filter(str.isprintable, text[: 2 * _USER_AGENT_LENGTH]))[:_USER_AGENT_LENGTH].strip() or None
    )
