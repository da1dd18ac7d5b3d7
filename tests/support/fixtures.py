"""The servers as fixtures: one of each per test session, which under pytest-xdist means per worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer, start_postgres
from tests.support.processes import scratch_directory
from tests.support.redis_server import RedisServer, start_redis


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A directory that a server running as nobody can reach, removed at the end."""
    with scratch_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def postgres_server(server_directory: Path) -> Iterator[PostgresServer]:
    """The session's PostgreSQL; about a second to start, a test that breaks it must restart it."""
    with start_postgres(server_directory) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(server_directory: Path) -> Iterator[RedisServer]:
    """The session's Redis; a test that breaks it must restart it."""
    with start_redis(server_directory) as server:
        yield server
