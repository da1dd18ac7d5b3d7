import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from authapi.runtime import Runtime
from tests.cli.conftest import Command
from tests.support.clients import Client, own_token
from tests.support.command import run_command


def create(command: Command, *arguments: str) -> Client:
    result = command("clients", "create", *arguments)
    assert result.exit_code == 0, result.stderr
    printed = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert list(printed) == ["client_id", "client_secret"]
    return Client(**printed)


def listed(command: Command) -> dict[str, list[str]]:
    header, *rows = [line.split("\t") for line in command("clients", "list").stdout.splitlines()]
    assert header == ["client_id", "name", "scopes", "status", "created_at"]
    return {row[0]: row for row in rows}


class TestCreate:
    def test_the_secret_is_printed_once_and_never_again(self, command: Command, migrated: Path) -> None:
        client = create(command, " Order service ", "--scope", "users:read", "--scope", "revocations:read")
        assert client.client_secret.startswith("authapi_cs_")
        row = listed(command)[client.client_id]
        assert row[1:4] == ["Order service", "revocations:read,users:read", "active"]
        assert client.client_secret not in command("clients", "list").output
        with closing(sqlite3.connect(migrated / ".authapi" / "authapi.sqlite3")) as database:
            dump = "\n".join(database.iterdump())
        assert client.client_id in dump
        assert client.client_secret not in dump

    def test_without_a_scope_it_has_none(self, command: Command, migrated: Path) -> None:
        assert listed(command) == {}
        client = create(command, "x")
        assert listed(command)[client.client_id][2] == ""

    @pytest.mark.parametrize("scope", ["nobody:knows", "two scopes", ""])
    def test_unknown_scopes(self, command: Command, migrated: Path, scope: str) -> None:
        result = command("clients", "create", "x", "--scope", scope)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: --scope: ")
        assert result.stdout == ""
        assert listed(command) == {}

    @pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nclient_secret=b"])
    def test_names(self, command: Command, migrated: Path, name: str) -> None:
        assert command("clients", "create", name).exit_code == 2


class TestRevoke:
    def test_by_client_id(self, command: Command, migrated: Path) -> None:
        kept, gone = create(command, "kept"), create(command, "gone")
        for _ in range(2):
            assert command("clients", "revoke", gone.client_id).exit_code == 0
        rows = listed(command)
        assert (rows[kept.client_id][3], rows[gone.client_id][3]) == ("active", "revoked")

    def test_an_unknown_one(self, command: Command, migrated: Path) -> None:
        result = command("clients", "revoke", "svc_unknown")
        assert (result.exit_code, result.stderr) == (1, "error: There is no such service client.\n")


async def test_a_running_service_follows_within_a_second(
    app: FastAPI, client: httpx.AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    """The command is another process; the service has nothing but the database in common with it."""
    settings = runtime.settings
    variables = {
        "AUTHAPI_DATABASE__URL": settings.database_url,
        "AUTHAPI_SECRET_KEY": "for tests only, and long enough for them",
        "AUTHAPI_DATA_DIR": str(settings.data_dir),
    }
    created = await asyncio.to_thread(run_command, tmp_path, "clients", "create", "orders", **variables)
    assert created.returncode == 0, created.stderr
    service = Client(*re.findall(r"^client_(?:id|secret)=(\S+)$", created.stdout, re.MULTILINE))
    headers = {"Authorization": f"Bearer {(await own_token(client, service))['access_token']}"}
    assert (await client.post("/validate", headers=headers)).status_code == 200
    revoked = await asyncio.to_thread(
        run_command, tmp_path, "clients", "revoke", service.client_id, **variables
    )
    assert revoked.returncode == 0, revoked.stderr
    await asyncio.sleep(1)
    assert (await client.post("/validate", headers=headers)).status_code == 403
