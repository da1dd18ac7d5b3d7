"""Refuses oversized requests before their bytes are kept."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authapi.error_handlers import error_response
from authapi.errors import AuthApiError, BadRequest, PayloadTooLarge, UriTooLong

# How long, and for how many bytes, a refused upload is still read (and dropped) after its answer.
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 1024 * 1024


class BodyLimitMiddleware:
    """Answers 413, 414 or 400 in the envelope for bodies, URLs and framings that no client of ours sends.

    Sizes are in bytes. A declared body that is too large is refused unread; a chunked one as soon as it
    crosses the limit: the read raises `PayloadTooLarge`, and the connection is closed after the answer,
    whoever gives it. Contradicting framing (several or malformed Content-Length, or one next to
    Transfer-Encoding) is how requests are smuggled past a proxy (RFC 9112 section 6.3, ASVS 4.2.1).
    """

    def __init__(
        self, app: ASGIApp, *, max_body_bytes: int = 64 * 1024, max_uri_bytes: int = 8 * 1024
    ) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.max_uri_bytes = max_uri_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _ClosingAnswer(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            answer.closes = True
            await error_response(refusal)(scope, receive, answer)
            return

        read = 0

        async def limited_receive() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self.max_body_bytes:
                    answer.closes = True
                    answer.upload_finished = not message.get("more_body", False)
                    raise PayloadTooLarge(f"more than {self.max_body_bytes} bytes were sent")
            return message

        try:
            await self.app(scope, limited_receive, answer)
        except PayloadTooLarge as error:
            if answer.started:
                raise
            await error_response(error)(scope, receive, answer)

    def _refusal(self, scope: Scope) -> AuthApiError | None:
        raw_path = scope.get("raw_path") or scope["path"].encode()
        if len(raw_path) + len(scope.get("query_string", b"")) > self.max_uri_bytes:
            return UriTooLong()
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if not lengths:
            return None
        if len(lengths) > 1 or not _is_decimal(lengths[0]):
            return BadRequest("malformed Content-Length")
        if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            return BadRequest("both Content-Length and Transfer-Encoding")
        if int(lengths[0]) > self.max_body_bytes:
            return PayloadTooLarge(f"a body of {int(lengths[0])} bytes was announced")
        return None


def _is_decimal(value: bytes) -> bool:
    # int() would also take "+1", "1_0" and " 1"; 20 digits are more than any real size.
    return value.isascii() and value.isdigit() and len(value) <= 20


class _ClosingAnswer:
    """A `send` that, once `closes` is set, ends the connection after the answer without losing it.

    Closing a socket that still holds unread bytes makes the kernel send a reset, and the client never sees
    the 413. So the answer goes out at once, the upload is dropped for a moment, then the connection closes.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._http1 = str(scope.get("http_version", "1.1")).startswith("1")
        # A client that waits for "100 Continue" has nothing on its way.
        self.upload_finished = any(name == b"expect" for name, _ in scope["headers"])
        self.closes = False
        self.started = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        if not self.closes:
            await self._send(message)
        elif message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            if self._http1:
                headers.append((b"connection", b"close"))
            await self._send({**message, "headers": headers})
        elif message.get("more_body", False) or self.upload_finished:
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._drop_upload()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drop_upload(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                dropped = 0
                while dropped < _LINGER_BYTES:
                    message = await self._receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
                    dropped += len(message.get("body", b""))
                # Reading on would be free bandwidth for a flood; unread, the client's socket fills and stops.
                await asyncio.sleep(_LINGER_SECONDS)
