"""Who is asking, for code that must not know HTTP: services read this when they record an audit event."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

# Where a server that knows puts `has_left` into the scope of a request.
HAS_LEFT = "authapi.has_left"
# Where the layer that gives a request its context puts the status of an answer that begins; None if the client has
# left by then.
STATUS = "authapi.status"


def never_left() -> bool:
    """The `has_left` of a caller of whom nothing is known."""
    return False


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What is known about the caller before any credential is checked; all None outside of a request.

    `ip` is the address that the trusted proxies report; `user_agent` is cleaned, at most 256 characters,
    and chosen by the client. `has_left` tells, from any thread, whether the connection is gone.
    """

    request_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    has_left: Callable[[], bool] = field(default=never_left, compare=False, repr=False)


_OUTSIDE = RequestContext()
_context: ContextVar[RequestContext] = ContextVar("authapi_request_context", default=_OUTSIDE)


def current() -> RequestContext:
    """Returns the context of this request, or an empty one in the CLI and in background loops."""
    return _context.get()


@contextmanager
def bind(context: RequestContext) -> Iterator[None]:
    """Makes `context` the current one for the block, and for the tasks and threads started inside it."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)
