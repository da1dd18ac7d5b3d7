"""The services that are measured, each a process of its own on loopback."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx

from authapi.security.passwords import PasswordHasher
from benchmarks.figures import run_authapi
from benchmarks.load import http_request
from tests.support.accounts import PASSWORD
from tests.support.command import clean_environment, command_line
from tests.support.processes import free_port

START_SECONDS = 60.0
# By the second: the log of a limit holds what was spent in its window.
PLENTY = "1000000/second"
POOL_SIZE = 10
LOGIN_USERS = 16
PRODUCTION = {
    "AUTHAPI_ENVIRONMENT": "production",
    "AUTHAPI_SECRET_KEY": secrets.token_urlsafe(48),
    "AUTHAPI_PUBLIC_URL": "https://auth.example.com",
    "AUTHAPI_MAIL__URL": "smtp://127.0.0.1:9",
    "AUTHAPI_MAIL__FROM": "auth@example.com",
    "AUTHAPI_DATABASE__POOL_SIZE": str(POOL_SIZE),
    "AUTHAPI_PASSWORD__BCRYPT_ROUNDS": "12",
    # Raised, not removed: counting them costs what it costs.
    **{
        f"AUTHAPI_RATE_LIMIT__{name}": PLENTY
        for name in ("AUTH", "REFRESH", "SEARCH", "PUBLIC", "USER", "ADMIN")
    },
}


@dataclass(frozen=True)
class Server:
    """A service that answers: where, and as which process."""

    base_url: str
    pid: int
    seconds_to_first_answer: float

    @property
    def resident_bytes(self) -> int:
        """Memory in use, from /proc; 0 where there is none."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


@contextmanager
def running(
    directory: Path, command: Sequence[str], *, port: int, probe: str, **env: str
) -> Iterator[Server]:
    """Start a command and wait until `probe` answers 200; stopped at the end."""
    with (directory / f"{port}.log").open("w") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=clean_environment(**env),
        )
    try:
        base_url = f"http://127.0.0.1:{port}"
        while not _answers(port, probe):
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise RuntimeError(f"{command} did not start:\n{Path(log.name).read_text()[-2000:]}")
            time.sleep(0.01)
        yield Server(base_url, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def authapi_server(
    directory: Path, database_url: str, *arguments: str, **env: str
) -> AbstractContextManager[Server]:
    """`authapi serve` with its production settings; the schema must be there."""
    port = free_port()
    command = command_line("serve", "--port", str(port), *arguments)
    settings = PRODUCTION | {"AUTHAPI_DATABASE__URL": database_url} | env
    return running(directory, command, port=port, probe="/health/live", **settings)


def bare_server(directory: Path, database_url: str) -> AbstractContextManager[Server]:
    """The bare application, under uvicorn's defaults without its access log."""
    port = free_port()
    arguments = ("benchmarks.bare_app:app", "--port", str(port), "--no-access-log", "--log-level", "warning")
    command = [sys.executable, "-m", "uvicorn", *arguments]
    root = str(Path(__file__).parent.parent)
    return running(
        directory, command, port=port, probe="/me", BARE_DATABASE_URL=database_url, PYTHONPATH=root
    )


def add_users(directory: Path, database_url: str, *, count: int) -> None:
    """Bring the schema up to date and import `user0@example.com`, …, whose password costs what it costs."""
    password_hash = PasswordHasher(rounds=12).hash(PASSWORD)
    file = directory / "users.jsonl"
    rows = [
        {"email": email(number), "full_name": "Ada", "password_hash": password_hash}
        for number in range(count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = clean_environment(**PRODUCTION, AUTHAPI_DATABASE__URL=database_url)
    run_authapi(directory, environment, "db", "upgrade")
    run_authapi(directory, environment, "users", "import", str(file))


def email(number: int) -> str:
    return f"user{number}@example.com"


def login_request(number: int) -> bytes:
    body = json.dumps({"email": email(number), "password": PASSWORD}).encode()
    return http_request("POST", "/api/auth/login", body=body)


async def log_in(server: Server, number: int) -> dict[str, str]:
    """Log in one of the users; returns the tokens."""
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False, timeout=30) as client:
        response = await client.post("/api/auth/login", json={"email": email(number), "password": PASSWORD})
    response.raise_for_status()
    tokens: dict[str, str] = response.json()["data"]
    return tokens


def _answers(port: int, path: str) -> bool:
    # Lighter than httpx: while a service starts, whoever asks for it takes its core away.
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
