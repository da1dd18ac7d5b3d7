"""Who is asking, for code that must not know HTTP: services read this when they record an audit event."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What is known about the caller before any credential is checked; all None outside of a request.

    `ip` is the address that the trusted proxies report; `user_agent` is cleaned, at most 256 characters,
    and chosen by the client.
    """

    request_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None


_OUTSIDE = RequestContext()
_context: ContextVar[RequestContext] = ContextVar("authapi_request_context", default=_OUTSIDE)


def current() -> RequestContext:
    """Returns the context of this request, or an empty one in the CLI and in background loops."""
    return _context.get()


@contextmanager
def bind(context: RequestContext) -> Iterator[RequestContext]:
    """Makes `context` the current one for the block, and for the tasks and threads started inside it."""
    token = _context.set(context)
    try:
        yield context
    finally:
        _context.reset(token)
