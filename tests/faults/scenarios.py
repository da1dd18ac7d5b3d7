"""The scenarios by number, and what each is given."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from authapi import migrations
from tests.faults.served import Authapi
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.redis_server import RedisServer, start_redis

Scenario = Callable[["World"], Awaitable[str]]
# Without a line for each request.
QUIET = {"LOG__LEVEL": "warning"}
# Clients that log in without end would end the session that has not been used for longest: one that hangs.
MANY_LOGINS = {"SESSION__MAX_PER_USER": "10000"}
SCENARIOS: dict[str, tuple[str, Scenario]] = {}


class NotTried(Exception):
    """The scenario cannot run on this machine; the message is the reason."""


def scenario(number: str, fault: str) -> Callable[[Scenario], Scenario]:
    """Register a coroutine function that returns its figures and raises `AssertionError` where it fails."""

    def register(function: Scenario) -> Scenario:
        SCENARIOS[number] = (fault, function)
        return function

    return register


@dataclass
class World:
    """Servers for scenarios, in a directory that a server running as nobody can reach."""

    directory: Path
    kills: int
    soak_minutes: float
    connections: int
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _postgres: PostgresServer | None = None
    _redis: RedisServer | None = None

    @property
    def postgres(self) -> PostgresServer:
        """The PostgreSQL of all scenarios; one that breaks it brings it back."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(start_postgres(self.directory))
        return self._postgres

    @property
    def redis(self) -> RedisServer:
        """The Redis of all scenarios; one that breaks it brings it back."""
        if self._redis is None:
            self._redis = self._stack.enter_context(start_redis(self.directory))
        return self._redis

    async def close(self) -> None:
        """End the servers."""
        await self._stack.aclose()

    def new_directory(self) -> Path:
        """An empty directory for one process or database."""
        directory = self.directory / uuid4().hex[:12]
        directory.mkdir(mode=0o711)
        return directory

    async def new_postgres_url(self, server: PostgresServer | None = None) -> str:
        """A migrated database of its own."""
        server = server or self.postgres
        name = f"authapi_{uuid4().hex[:12]}"
        server.create_database(name)
        await migrations.upgrade(server.url(name))
        return server.url(name)

    def new_sqlite_url(self) -> str:
        """A file that the first start of a process migrates."""
        return f"sqlite+aiosqlite:///{self.new_directory() / 'authapi.sqlite3'}"

    @asynccontextmanager
    async def authapi(
        self, url: str, *, workers: int = 1, variables: Mapping[str, str] | None = None, at_start: str = ""
    ) -> AsyncIterator[Authapi]:
        """A served authapi that ends with the block, whatever state it is in."""
        served = Authapi(self.new_directory(), url, workers=workers, variables=variables, at_start=at_start)
        try:
            await served.start()
            yield served
        finally:
            served.kill()
