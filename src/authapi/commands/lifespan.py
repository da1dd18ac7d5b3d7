"""Starts and stops an application as servers do it, and raises what uvicorn would only log."""

import asyncio
from collections.abc import MutableMapping
from typing import Any


class Lifespan:
    """The ASGI lifespan of an application, in a task of its own; FastAPI sets up telemetry in its course."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._messages: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._is_started = asyncio.Event()

    async def start(self) -> None:
        """Returns once the application has started; raises what keeps it from that."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._messages.put_nowait({"type": "lifespan.startup"})
        self._running = asyncio.create_task(self._app(scope, self._messages.get, self._send), name="lifespan")
        starting = asyncio.create_task(self._is_started.wait())
        await asyncio.wait([self._running, starting], return_when=asyncio.FIRST_COMPLETED)
        starting.cancel()
        if self._running.done():
            self._running.result()

    async def stop(self) -> None:
        """Returns once the application has stopped; raises what went wrong meanwhile."""
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        await self._running

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._is_started.set()
