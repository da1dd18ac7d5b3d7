"""`authapi serve` as operators run it: a process that starts, stops, or says why it does not."""

import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from authapi.commands.failures import CommandFailed
from authapi.commands.server import SEND_BUFFER_BYTES, bind
from tests.cli.conftest import Command
from tests.support.command import run_command, serving
from tests.support.processes import free_port

PRODUCTION = {
    "AUTHAPI_ENVIRONMENT": "production",
    "AUTHAPI_SECRET_KEY": "Vq0k5mYtT1zR8sN3bE7wXc2LpJ9hUgAf",
    "AUTHAPI_PUBLIC_URL": "https://auth.example.org",
    "AUTHAPI_MAIL__URL": "smtps://mail.example.org",
    "AUTHAPI_MAIL__FROM": "no-reply@example.org",
    "AUTHAPI_PASSWORD__BCRYPT_ROUNDS": "10",
}


def assert_not_started(result: subprocess.CompletedProcess[str], text: str) -> None:
    """Exit code 3 and one line."""
    assert result.returncode == 3, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert text in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr


@pytest.fixture
def _sigterm() -> Iterator[None]:
    """The command takes the signal over, which the test process must not keep."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


class TestDevelopment:
    def test_from_nothing_to_ready_and_back(self, tmp_path: Path) -> None:
        port = free_port()
        with serving(tmp_path, port=port) as running:
            assert running.stdout == f"API documentation: http://127.0.0.1:{port}/docs\n"
            secret = tmp_path / ".authapi" / "secret_key"
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600
            assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
            with httpx.Client(base_url=running.base_url, trust_env=False) as client:
                assert client.get("/docs").status_code == 200
                response = client.get("/health/live", headers={"X-Forwarded-For": "192.0.2.66"})
            assert response.status_code == 200
            assert "server" not in response.headers
            assert "date" in response.headers
            assert running.stop(signal.SIGTERM) == 0
            assert '"ip": "192.0.2.66"' not in running.stderr
            assert "Traceback" not in running.stderr

    def test_ctrl_c_is_quiet(self, tmp_path: Path) -> None:
        with serving(tmp_path, port=free_port()) as running:
            assert running.stop(signal.SIGINT) == 0
            assert "Traceback" not in running.stderr
            assert "KeyboardInterrupt" not in running.stderr

    @pytest.mark.usefixtures("_sigterm")
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
    def test_other_addresses_than_loopback(self, command: Command, host: str) -> None:
        result = command("serve", "--host", host)
        assert result.exit_code == 3
        assert result.stderr.startswith(f"error: --host {host}: development listens on loopback only")
        assert "--insecure-bind" in result.stderr


class TestWorkers:
    def test_two_workers(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--workers", "2", port=free_port()) as running:
            assert running.stop(signal.SIGTERM) == 0
            assert "Traceback" not in running.stderr
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{running.base_url}/health/live", trust_env=False)


class TestTelemetry:
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_the_environment_is_asked_at_the_start(self, tmp_path: Path, workers: str) -> None:
        """Which fails here, where no exporter is installed, and keeps nobody from serving."""
        asked = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
        with serving(tmp_path, "--workers", workers, port=free_port(), **asked) as running:
            running.stop()
            assert "automatic telemetry configuration failed" in running.stderr


class TestProduction:
    def test_it_shows_no_documentation(self, migrated: Path) -> None:
        with serving(migrated, port=free_port(), **PRODUCTION) as running:
            assert running.stdout == ""
            assert httpx.get(f"{running.base_url}/docs", trust_env=False).status_code == 404
            assert running.stop() == 0

    @pytest.mark.usefixtures("_sigterm")
    def test_every_unsafe_setting_is_a_line(self, command: Command) -> None:
        result = command("serve", "--workers", "2", AUTHAPI_ENVIRONMENT="production")
        assert result.exit_code == 3
        assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [
            "AUTHAPI_SECRET_KEY",
            "AUTHAPI_PUBLIC_URL",
            "AUTHAPI_RATE_LIMIT__STORAGE_URL",
            "AUTHAPI_MAIL__URL",
            "AUTHAPI_MAIL__FROM",
            "AUTHAPI_DATABASE__URL",
            "AUTHAPI_PASSWORD__BCRYPT_ROUNDS",
        ]


class TestCannotStart:
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_taken_port(self, tmp_path: Path, workers: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            result = run_command(tmp_path, "serve", "--port", port, "--workers", workers)
        assert_not_started(result, f"cannot listen on 127.0.0.1 port {port}: Address already in use")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("postgresql://ada:hunter2x@127.0.0.1:1/accounts", "the database 127.0.0.1:1/accounts "),
            ("postgresql://ada:hun@ter:2x@127.0.0.1:1/x", "is malformed or holds an unknown option"),
            ("postgresql://ada:hunter2x@127.0.0.1:1/x?speed=1", "is malformed or holds an unknown option"),
        ],
    )
    @pytest.mark.parametrize("environment", [{}, PRODUCTION], ids=["development", "production"])
    def test_no_database(self, tmp_path: Path, environment: dict[str, str], url: str, problem: str) -> None:
        variables = environment | {"AUTHAPI_DATABASE__URL": url}
        result = run_command(tmp_path, "serve", "--port", "0", **variables)
        assert_not_started(result, f"AUTHAPI_DATABASE__URL: {problem}")
        assert "2x" not in result.stderr

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("postgresql://ada@127.0.0.1:1/x?speed=1", "is malformed"),
            ("postgresql://ada@127.0.0.1:1/x", "the database 127.0.0.1:1/x "),
        ],
    )
    def test_production_rehearses_several_workers(self, tmp_path: Path, url: str, problem: str) -> None:
        variables = PRODUCTION | {
            "AUTHAPI_RATE_LIMIT__STORAGE_URL": "redis://127.0.0.1:1",
            "AUTHAPI_DATABASE__URL": url,
        }
        result = run_command(tmp_path, "serve", "--port", "0", "--workers", "2", **variables)
        assert_not_started(result, f"AUTHAPI_DATABASE__URL: {problem}")

    def test_no_database_for_several_workers(self, tmp_path: Path) -> None:
        url = "postgresql://ada:hunter2@127.0.0.1:1/accounts"
        result = run_command(tmp_path, "serve", "--port", "0", "--workers", "2", AUTHAPI_DATABASE__URL=url)
        assert_not_started(result, "AUTHAPI_DATABASE__URL: the database 127.0.0.1:1/accounts")
        assert "hunter2" not in result.stderr

    def test_production_wants_the_schema_first(self, tmp_path: Path) -> None:
        result = run_command(tmp_path, "serve", "--port", "0", **PRODUCTION)
        assert_not_started(result, "the database schema is behind this release; run: authapi db upgrade")

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_limit_that_cannot_be_read(self, tmp_path: Path, workers: str) -> None:
        options = ("serve", "--port", "0", "--workers", workers)
        result = run_command(tmp_path, *options, AUTHAPI_RATE_LIMIT__AUTH="5/minit")
        assert_not_started(result, "AUTHAPI_RATE_LIMIT__AUTH: '5/minit' is no limit such as 5/minute")

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_keys_of_another_secret_key(self, tmp_path: Path, workers: str) -> None:
        """Found only as the application starts."""
        with serving(
            tmp_path, port=free_port(), AUTHAPI_SECRET_KEY=PRODUCTION["AUTHAPI_SECRET_KEY"]
        ) as running:
            running.stop()
        other = {"AUTHAPI_SECRET_KEY": PRODUCTION["AUTHAPI_SECRET_KEY"][::-1]}
        result = run_command(tmp_path, "serve", "--port", "0", "--workers", workers, **other)
        assert_not_started(result, "AUTHAPI_SECRET_KEY: ")

    @pytest.mark.usefixtures("_sigterm")
    @pytest.mark.parametrize("workers", ["1", "2"])
    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("AUTHAPI_LOG__LEVEL", "chatty"),
            ("AUTHAPI_SECRET_KEY", "short"),
            ("AUTHAPI_WORKERS", "4"),
            ("AUTHAPI_PASSWORD__BREACH_FILE", "/no/such/file"),
            ("AUTHAPI_DATABASE__POOL_SIZE", "0"),
            ("AUTHAPI_PROXY__TRUSTED", "everybody"),
            ("AUTHAPI_PROXY__TRUSTED", "0.0.0.0/0"),
            ("AUTHAPI_PROXY__TRUSTED", "::/0"),
            ("AUTHAPI_CORS__ALLOWED_ORIGINS", "null"),
            ("AUTHAPI_PUBLIC_URL", "auth.example.com"),
        ],
    )
    def test_a_bad_setting(self, command: Command, variable: str, value: str, workers: str) -> None:
        result = command("serve", "--workers", workers, **{variable: value})
        assert result.exit_code == 3
        assert result.stderr.startswith(f"error: {variable}: ")
        assert result.stderr.count("\n") == 1


class TestBind:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_every_address_has_the_same_port(self, host: str) -> None:
        sockets = bind(host, 0)
        try:
            assert len({listener.getsockname()[1] for listener in sockets}) == 1
        finally:
            for listener in sockets:
                listener.close()

    def test_a_client_that_does_not_read_costs_little(self) -> None:
        (listener,) = bind("127.0.0.1", 0)
        listener.listen()
        with listener, socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            # Linux doubles it for its own bookkeeping.
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER_BYTES

    @pytest.mark.parametrize("host", ["no such host", "192.0.2.7"])
    def test_a_host_that_is_not_here(self, host: str) -> None:
        with pytest.raises(CommandFailed, match=host):
            bind(host, 0)
