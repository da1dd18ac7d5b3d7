import asyncio
import os
from pathlib import Path

import pytest

from authapi import clock
from authapi.commands.environment import open_runtime
from authapi.services.signing_keys import generate_key, store_key
from authapi.settings import load_settings
from tests.cli.conftest import Command
from tests.support.redis_server import RedisServer

SAFE = {
    "AUTHAPI_ENVIRONMENT": "production",
    "AUTHAPI_SECRET_KEY": "Vq0k5mYtT1zR8sN3bE7wXc2LpJ9hUgAf",
    "AUTHAPI_PUBLIC_URL": "https://auth.example.org",
    "AUTHAPI_MAIL__URL": "smtps://mail.example.org",
    "AUTHAPI_MAIL__FROM": "no-reply@example.org",
    "AUTHAPI_PASSWORD__BCRYPT_ROUNDS": "10",
}


class TestDoctor:
    def test_development_hears_what_production_would_refuse(self, command: Command, directory: Path) -> None:
        result = command("doctor")
        assert result.exit_code == 1
        assert "problem  production would refuse: AUTHAPI_SECRET_KEY: " in result.stdout
        assert "problem  production would refuse: AUTHAPI_PUBLIC_URL: " in result.stdout
        assert "warning  the database .authapi/authapi.sqlite3 does not exist yet" in result.stdout
        assert list(directory.iterdir()) == []

    def test_a_safe_installation(self, command: Command, migrated: Path) -> None:
        result = command("doctor", **SAFE)
        assert result.exit_code == 0, result.stdout
        assert "ok       the database answers; its schema is current" in result.stdout
        assert "ok       the signing keys open with the secret key" in result.stdout
        assert {line.split()[0] for line in result.stdout.splitlines()} == {"ok"}
        assert SAFE["AUTHAPI_SECRET_KEY"] not in result.output

    def test_more_workers_need_more(self, command: Command, migrated: Path) -> None:
        result = command("doctor", "--workers", "2", **SAFE)
        assert result.exit_code == 1
        assert "problem  AUTHAPI_DATABASE__URL: SQLite" in result.stdout

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("AUTHAPI_LOG__LEVEL", "chatty"),
            ("AUTHAPI_PASSWORT__PEPPER", "misspelt"),
            ("AUTHAPI_SECRET_KEY", "short"),
            ("AUTHAPI_RATE_LIMIT__AUTH", "5/minit"),
            ("AUTHAPI_DATABASE__URL", "postgresql://ada:hunter2@127.0.0.1:1/accounts"),
            ("AUTHAPI_RATE_LIMIT__STORAGE_URL", "redis://:hunter2@127.0.0.1:1/0"),
            ("AUTHAPI_DATA_DIR", "file"),
            ("AUTHAPI_PROXY__TRUSTED", "0.0.0.0/0"),
            ("AUTHAPI_CORS__ALLOWED_ORIGINS", "https://*.example.com"),
        ],
    )
    def test_what_is_broken_is_named(
        self, command: Command, migrated: Path, variable: str, value: str
    ) -> None:
        (migrated / "file").touch()
        result = command("doctor", **{**SAFE, variable: value})
        assert result.exit_code == 1
        problems = [line for line in result.stdout.splitlines() if line.startswith("problem")]
        assert any(variable in line for line in problems)
        assert "hunter2" not in result.output

    def test_a_schema_that_is_behind(self, command: Command, directory: Path) -> None:
        (directory / ".authapi").mkdir(mode=0o700)
        (directory / ".authapi" / "authapi.sqlite3").touch(mode=0o600)
        result = command("doctor", **SAFE)
        assert result.exit_code == 1
        assert "problem  the database schema is behind this release; run: authapi db upgrade" in result.stdout

    @pytest.mark.parametrize(("name", "mode"), [("secret_key", 0o644), ("", 0o755)])
    def test_open_files(self, command: Command, migrated: Path, name: str, mode: int) -> None:
        path = migrated / ".authapi" / name
        if name:
            path.touch()
        path.chmod(mode)
        result = command("doctor", **SAFE)
        assert result.exit_code == 1
        assert f"{os.path.join('.authapi', name).rstrip('/')} is open to other users" in result.stdout

    def test_the_wrong_secret_key(self, command: Command, migrated: Path) -> None:
        asyncio.run(_store_signing_key())
        assert "\tcurrent\t" in command("keys", "list").stdout
        result = command("doctor", **SAFE)
        assert result.exit_code == 1
        assert (
            "problem  AUTHAPI_SECRET_KEY: the stored signing keys were sealed under another" in result.stdout
        )

    def test_unwise_settings_are_found(self, command: Command, migrated: Path) -> None:
        result = command("doctor", **SAFE, AUTHAPI_DOCS__ENABLED="true")
        assert result.exit_code == 0
        assert "warning  AUTHAPI_DOCS__ENABLED: " in result.stdout

    def test_redis_answers(self, command: Command, migrated: Path, redis_server: RedisServer) -> None:
        result = command("doctor", **SAFE, AUTHAPI_RATE_LIMIT__STORAGE_URL=redis_server.url)
        assert result.exit_code == 0, result.stdout
        assert "ok       AUTHAPI_RATE_LIMIT__STORAGE_URL: Redis answers" in result.stdout


async def _store_signing_key() -> None:
    """Seal a key under the generated secret key of development."""
    async with open_runtime(load_settings()) as runtime, runtime.database.unit_of_work() as db:
        key = await generate_key(runtime)
        await store_key(db, runtime, key=key, activates_at=clock.utc_now(), reason="test")
