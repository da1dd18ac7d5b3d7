"""A TCP proxy that is slow, or leads elsewhere from now on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Carries connections to `target` and delays each piece of what comes back by `delay` seconds."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Drop every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, server_writer}
        self._writers |= both
        # Cancelled at the end of the program, when there is nobody left to tell.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._carry(reader, server_writer, delayed=False),
                self._carry(server_reader, writer, delayed=True),
            )
        self._writers -= both

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delayed: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await reader.read(65536):
                if delayed and self.delay:
                    loop.call_later(self.delay, writer.write, data)
                else:
                    writer.write(data)
        # The other half has nothing to answer any more.
        loop.call_later(self.delay if delayed else 0, writer.close)


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    """A proxy to a port of this machine, while the block runs."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
