"""A real PostgreSQL for the tests: from a URL, from the pip-installed binaries or from the system."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
from sqlalchemy.engine import URL, make_url

from tests.support.postgres_binaries import URL_VARIABLE, find_binaries, reachable_binaries
from tests.support.processes import Account, ServerError, ServerProcess, run_as, server_environment

SUPERUSER = "postgres"

OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    # Nothing here outlives the session, so nothing waits for the disk. synchronous_commit stays on: without
    # it a killed server loses commits that it has confirmed, and the tests that kill it would blame authapi.
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
}
DURABLE = {"fsync": "on", "full_page_writes": "on"}


class PostgresServer:
    """A PostgreSQL that the tests may create databases in and, when the session started it, may break.

    `process` is None for the server named by AUTHAPI_TEST_DATABASE_URL, which is never stopped or frozen.
    """

    def __init__(self, address: Callable[[], URL], *, process: ServerProcess | None = None) -> None:
        self._address = address
        self._process = process

    @property
    def is_ours(self) -> bool:
        """Whether this session started the server and may kill or freeze it."""
        return self._process is not None

    @property
    def process(self) -> ServerProcess:
        if self._process is None:
            raise ServerError(f"this test breaks its server; unset {URL_VARIABLE}, whose server is not ours")
        return self._process

    def url(self, database: str | None = None) -> str:
        """Return the SQLAlchemy URL (`postgresql+asyncpg://`) of a database, by default the superuser's."""
        return self._url("postgresql+asyncpg", database)

    def dsn(self, database: str | None = None) -> str:
        """Return the libpq-style URL (`postgresql://`) of a database, for asyncpg and psql."""
        return self._url("postgresql", database)

    def _url(self, driver: str, database: str | None) -> str:
        url = self._address().set(drivername=driver)
        if database is not None:
            url = url.set(database=database)
        return url.render_as_string(hide_password=False)

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database, as a file copy of `template` (nobody may be connected to that one) if given."""

        async def create(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            statement = f"CREATE DATABASE {_quoted(name)}"
            if template is not None:
                statement += f" TEMPLATE {_quoted(template)}"
                if connection.get_server_version().major >= 15:
                    statement += " STRATEGY FILE_COPY"  # several times faster without fsync
            await connection.execute(statement)

        self._administrate(create)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, disconnecting whoever uses it."""

        async def drop(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            await connection.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

        self._administrate(drop)

    def _administrate(
        self, work: "Callable[[asyncpg.Connection[asyncpg.Record]], Coroutine[None, None, None]]"
    ) -> None:
        async def connect_and_work() -> None:
            connection = await asyncpg.connect(self.dsn(), timeout=30)
            try:
                await work(connection)
            finally:
                await connection.close()

        # The caller may be inside a running loop, where asyncio.run is refused.
        with ThreadPoolExecutor(max_workers=1) as executor:
            executor.submit(asyncio.run, connect_and_work()).result()

    def stop(self) -> None:
        """Shut down fast: open transactions are rolled back and clients disconnected."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL the postmaster and every backend; the next start recovers from the log."""
        self.process.kill()

    def start(self) -> None:
        self.process.start()

    def restart(self) -> None:
        """Stop, if it runs, and start on the same port with the same data."""
        self.process.restart()

    def freeze(self) -> None:
        """SIGSTOP the postmaster and every backend: connections stay open and nothing answers."""
        self.process.freeze()

    def thaw(self) -> None:
        self.process.thaw()


@contextlib.contextmanager
def start_postgres(
    directory: Path, *, binaries: Path | None = None, durable: bool = False
) -> Iterator[PostgresServer]:
    """Yield a PostgreSQL whose data lies in `directory`; the server ends with the context.

    `durable` lets every commit wait for the disk, as a server does that is not only for tests.

    `binaries` is the folder of initdb and postgres; by default AUTHAPI_TEST_DATABASE_URL and then the
    installed ones are tried. Run by root, the server runs as nobody, who must be able to pass through
    `directory`.

    Raises:
        ServerError: nothing was found, or the server did not start; the message says what to do.
    """
    external = os.environ.get(URL_VARIABLE)
    if external and binaries is None:
        address = make_url(external)
        yield PostgresServer(lambda: address)
        return
    home = directory / "postgres"
    home.mkdir(mode=0o711)
    account = Account.nobody() if os.geteuid() == 0 else None
    folder = reachable_binaries(binaries or find_binaries(), account=account, directory=home)
    password = secrets.token_urlsafe(16)
    data = _initialise(folder, home=home, account=account, password=password)
    settings = OPTIONS | (DURABLE if durable else {})
    options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
    process = ServerProcess(
        name="postgres",
        command=lambda port: [
            str(folder / "postgres"),
            "-D",
            str(data),
            "-p",
            str(port),
            *options,
        ],
        is_ready=lambda pid, _port: _postmaster_is_ready(data, pid),
        directory=home,
        account=account,
        stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
    )
    try:
        process.start()
        yield PostgresServer(
            lambda: URL.create("postgresql", SUPERUSER, password, "127.0.0.1", process.port, "postgres"),
            process=process,
        )
    finally:
        process.kill()
        shutil.rmtree(home, ignore_errors=True)


def _initialise(binaries: Path, *, home: Path, account: Account | None, password: str) -> Path:
    data = home / "data"
    data.mkdir(mode=0o700)
    password_file = home / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if account is not None:
        for path in (data, password_file):
            os.chown(path, account.uid, account.gid)
    initdb = subprocess.run(
        [
            str(binaries / "initdb"),
            *("--pgdata", str(data), "--username", SUPERUSER, "--pwfile", str(password_file)),
            # Any account of the machine can connect to loopback, and a superuser runs programs: no trust.
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=home,
        env=server_environment(),
        **run_as(account),
    )
    if initdb.returncode != 0:
        raise ServerError(f"{binaries / 'initdb'} failed:\n{initdb.stdout[-1500:]}{initdb.stderr[-1500:]}")
    return data


def _postmaster_is_ready(data: Path, pid: int) -> bool:
    """Read postmaster.pid: its first line is the process, its eighth the state (PostgreSQL 10 and later)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
