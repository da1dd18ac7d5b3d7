"""Gives every request an id, a context and one access log line."""

import re
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from authapi import request_context
from authapi.request_context import RequestContext

# A request id is copied into logs, headers and audit rows: nothing but these characters may get there.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_USER_AGENT_LENGTH = 256

_log = structlog.stdlib.get_logger("authapi.access")


class RequestContextMiddleware:
    """Binds the `RequestContext`, answers with `X-Request-ID` and logs each request once (ASVS 16.2.1).

    Belongs outside of everything but the layer that sets `scope["client"]`. An incoming `X-Request-ID` is
    kept if it is 8 to 64 characters of `A-Za-z0-9._-`. The log names the route's template: the raw path
    and the query string may hold one-time tokens.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        context = _describe(scope)
        request_id = context.request_id or ""
        status: int | None = None
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", [])
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with (
            request_context.bind(context),
            structlog.contextvars.bound_contextvars(request_id=request_id, ip=context.ip),
        ):
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                _log.info(
                    "http.request",
                    method=scope["method"],
                    route=route_template(scope),
                    status=status,
                    duration_ms=round((time.perf_counter() - started) * 1000, 1),
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


def _describe(scope: Scope) -> RequestContext:
    headers = Headers(scope=scope)
    offered = headers.get("x-request-id", "")
    client = scope.get("client")
    return RequestContext(
        request_id=offered if _REQUEST_ID.fullmatch(offered) else str(uuid7()),
        ip=client[0] if client else None,
        user_agent=_clean(headers.get("user-agent")),
    )


def _clean(user_agent: str | None) -> str | None:
    """Drops what could break a log line, a mail or a terminal: control, format and separator characters."""
    if user_agent is None:
        return None
    # Header values are decoded as Latin-1; names of devices are often UTF-8.
    text = user_agent.encode("latin-1", "replace").decode("utf-8", "replace")
    return (
        "".join(filter(str.isprintable, text[: 2 * _USER_AGENT_LENGTH]))[:_USER_AGENT_LENGTH].strip() or None
    )
