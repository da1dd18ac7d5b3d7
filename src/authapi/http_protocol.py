"""HTTP/1.1 as uvicorn speaks it, with bounds on the head of a request (ASVS 15.2.2).

uvicorn with httptools collects headers without end and waits for them for ever: one connection could fill the
memory, and a few thousand that send a byte now and then (slowloris) would use up every file descriptor.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 16 * 1024
# From the first byte, or from the connection if none comes, to the end of the headers.
HEAD_SECONDS = 10.0


class BoundedHttpProtocol(HttpToolsProtocol):
    """A connection that is closed when a request's head is too long (400) or too slow (no answer)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_reading_head = False
        self._received_bytes = 0
        self._parsed_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            # Also for stray line breaks between requests, which end uvicorn's keep-alive timeout.
            self._start_head_timer()
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

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_reading_head = False
        self._stop_head_timer()
        super().on_headers_complete()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _count(self, size: int) -> None:
        """Raise ValueError, which the parser turns into a 400, for a head that came in one piece."""
        self._parsed_bytes += size
        if self._parsed_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head of the request is too long")
