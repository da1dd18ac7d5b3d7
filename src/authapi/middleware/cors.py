"""Lets the frontends of other origins read answers."""

from fastapi.middleware.cors import CORSMiddleware
from starlette.types import Message, Receive, Scope, Send

_VARY = (b"vary", b"Origin")


class CorsMiddleware(CORSMiddleware):
    """Starlette's, with a short way for requests without an Origin, of which it reads all headers three times."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or any(name == b"origin" for name, _ in scope["headers"]):
            await super().__call__(scope, receive, send)
            return

        async def send_varying(message: Message) -> None:
            # A cache must not hand this answer to one who does send an Origin.
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _VARY]
            await send(message)

        await self.app(scope, receive, send_varying)
