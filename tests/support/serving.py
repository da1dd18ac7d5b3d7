"""An ASGI app on a real port, for clients that need one: browsers, and whatever is not httpx."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from authapi.http_protocol import BoundedHttpProtocol

STOP_SECONDS = 15.0


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """Serve an ASGI app with uvicorn in a thread, on a free loopback port; yields `http://127.0.0.1:port`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, http=BoundedHttpProtocol, ws="none", lifespan="auto", log_config=None, server_header=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="uvicorn")
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise RuntimeError("the app did not start")
                thread.join(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS)


@asynccontextmanager
async def serve_beside(app: Any) -> AsyncIterator[str]:
    """As `serve`, for a test with an application of its own on the same database.

    That one is not held up meanwhile: in the middle of a transaction it would lock this one out of SQLite.
    """
    server = serve(app)
    url = await asyncio.to_thread(server.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)
