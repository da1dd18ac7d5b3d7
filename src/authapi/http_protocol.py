"""HTTP/1.1 as uvicorn speaks it, with bounds on size and time (ASVS 15.2.2).

uvicorn with httptools collects headers without end, waits for ever for the rest of a request and for a client
that does not read its answer: one connection could fill the memory, and a few thousand that send or read a byte
now and then (slowloris) would use up every file descriptor.
"""

import asyncio
import sys
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from authapi.request_context import HAS_LEFT

MAX_HEAD_BYTES = 16 * 1024
# From the first byte, or from the connection if none comes, to the end of the headers.
HEAD_SECONDS = 10.0
# From there to the end of the body, of which 64 KiB are read at most. As long as for the head: one timer serves
# both, and is only ever moved back.
BODY_SECONDS = 10.0
# In this time a client has to take so many bytes of what waits for it.
WRITE_SECONDS = 10.0
WRITE_BYTES = 16 * 1024
# File descriptors that are not a client's: databases, Redis, mail servers, files.
OTHER_DESCRIPTORS = 256
MOST_CONNECTIONS = 8192
# Requests that wait on a connection for the one before them. Thousands fit into one read, which the event loop
# would take apart before it does anything else.
MOST_PIPELINED = 16


class Progress:
    """How often any connection has read or answered: a loop that does so for long is busy, not hanging."""

    def __init__(self) -> None:
        self.events = 0


# An object of its own: each change of a class's attribute makes Python forget what it knows about the class.
PROGRESS = Progress()


def _connection_limit() -> int:
    if sys.platform == "win32":
        return MOST_CONNECTIONS
    import resource

    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, descriptors - OTHER_DESCRIPTORS))


class BoundedHttpProtocol(HttpToolsProtocol):
    """A connection that is closed when a request's head is too long (400), or when its client is too slow.

    With `max_connections` open, a new one takes the place of the one that has been without a request for the
    longest time: those who hold connections for nothing cannot keep others out.
    """

    max_connections: ClassVar[int] = _connection_limit()
    # Those without a complete request, the oldest first.
    _waiting: ClassVar[dict["BoundedHttpProtocol", None]] = {}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # By when the head or the body has to be there, by the loop's clock; None while nothing is waited for.
        self._read_until: float | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._is_reading_head = False
        self._received_bytes = 0
        self._parsed_bytes = 0
        self._is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self.max_connections and not self._make_room():
            transport.abort()
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._waiting.pop(self, None)
        self._read_until = None
        if self._read_timer is not None:
            self._read_timer.cancel()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        PROGRESS.events += 1
        if (self.cycle is None or self.cycle.response_complete) and self._read_until is None:
            # Also for stray line breaks between requests, which end uvicorn's keep-alive timeout.
            self._wait_for_head()
        if self._is_reading_head:
            # A value that does not end reaches no callback; it is counted here.
            self._received_bytes += len(data)
            if self._received_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The head of the request is too long.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._is_reading_head = True
        self._received_bytes = self._parsed_bytes = 0
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[HAS_LEFT] = self._has_left

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            raise ValueError("too many requests at once")
        self._is_reading_head = False
        self._waiting.pop(self, None)
        super().on_headers_complete()
        self._expect_within(BODY_SECONDS)

    def on_message_complete(self) -> None:
        self._read_until = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        PROGRESS.events += 1
        super().on_response_complete()
        if not self.pipeline:
            self._waiting[self] = None
        if self._write_timer is None and self.transport.get_write_buffer_size():
            # Also where the connection is closing, which waits for the client to take the rest.
            self._watch_writing()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_write_timer()

    def _has_left(self) -> bool:
        return self._is_lost

    def _make_room(self) -> bool:
        for oldest in self._waiting:
            oldest.transport.abort()
            # Not only when it is gone: the next newcomer must find another one.
            del self._waiting[oldest]
            return True
        return False

    def _wait_for_head(self) -> None:
        self._waiting[self] = None
        self._expect_within(HEAD_SECONDS)

    def _expect_within(self, seconds: float) -> None:
        self._read_until = self.loop.time() + seconds
        # One for many requests, most of which need it no longer when it rings.
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(seconds, self._close_if_late)

    def _close_if_late(self) -> None:
        self._read_timer = None
        if self._read_until is None:
            return
        left = self._read_until - self.loop.time()
        if left <= 0:
            self.transport.close()
        else:
            self._read_timer = self.loop.call_later(left, self._close_if_late)

    def _watch_writing(self) -> None:
        self._write_timer = self.loop.call_later(
            WRITE_SECONDS, self._expect_progress, self.transport.get_write_buffer_size()
        )

    def _expect_progress(self, unread_bytes: int) -> None:
        self._write_timer = None
        left = self.transport.get_write_buffer_size()
        if left and left > unread_bytes - WRITE_BYTES:
            # close() would wait for the client.
            self.transport.abort()
        elif left:
            self._watch_writing()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _count(self, size: int) -> None:
        """Raise ValueError, which the parser turns into a 400, for a head that came in one piece."""
        self._parsed_bytes += size
        if self._parsed_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head of the request is too long")
