"""The last resort: whatever nobody foresaw becomes a 500 in the envelope."""

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authapi.error_handlers import error_response, log_refusal
from authapi.errors import AuthApiError, InternalError

_log = structlog.stdlib.get_logger("authapi.errors")


class UnhandledErrorsMiddleware:
    """Answers 500 with nothing but the request id, and logs types and stack frames (ASVS 16.5.1, 16.5.4).

    Starlette's own catch-all sits outside of the middleware stack, so its 500 carries no request id, no
    security and no CORS headers, and it raises again, which costs the client its connection. Belongs inside
    of the layers that add those headers. Once a response has started the exception goes on to the server,
    which cuts the connection: a truncated answer must not look complete.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def noting_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
            await send(message)

        try:
            await self.app(scope, receive, noting_send)
        except ClientDisconnect:
            # Nobody is left to answer, and a closed browser tab is no fault of ours.
            _log.debug("http.client_disconnected")
        except Exception as error:
            if started:
                _log.error("http.unhandled_error", response_started=True, exc_info=error)
                raise
            if isinstance(error, AuthApiError):
                # Raised outside of the routes, where no exception handler runs.
                log_refusal(error)
                answer = error_response(error)
            else:
                _log.error("http.unhandled_error", exc_info=error)
                answer = error_response(InternalError())
            await answer(scope, receive, send)
