import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import Result

from tests.cli.conftest import Command
from tests.support.accounts import PASSWORD


def create(command: Command, email: str, *options: str, password: str = PASSWORD) -> Result:
    return command("users", "create", email, "--password-stdin", *options, stdin=f"{password}\n")


def listed(command: Command) -> dict[str, list[str]]:
    """The lines of `users list` by e-mail."""
    header, *rows = [line.split("\t") for line in command("users", "list").stdout.splitlines()]
    assert header == ["email", "roles", "status", "verified", "created_at", "id"]
    return {row[0]: row for row in rows}


class TestCreate:
    def test_the_id_is_printed_and_the_address_counts_as_verified(
        self, command: Command, migrated: Path
    ) -> None:
        result = create(command, "Ada@Example.com", "--role", "admin", "--role", "auditor")
        assert result.exit_code == 0, result.stderr
        user_id = result.stdout.strip()
        assert str(UUID(user_id)) == user_id
        row = listed(command)["Ada@Example.com"]
        assert row[1:4] == ["admin,auditor", "active", "yes"]
        assert row[5] == user_id

    def test_without_a_role_it_is_user(self, command: Command, migrated: Path) -> None:
        assert create(command, "ada@example.com").exit_code == 0
        assert listed(command)["ada@example.com"][1] == "user"

    def test_only_the_first_line_of_stdin_is_the_password(self, command: Command, migrated: Path) -> None:
        assert create(command, "ada@example.com", password=f"{PASSWORD}\r\nrest").exit_code == 0

    @pytest.mark.parametrize(
        ("email", "options", "password", "message"),
        [
            ("not an address", [], PASSWORD, "error: "),
            ("ada@example.com", ["--role", "king"], PASSWORD, "error: There is no such role.\n"),
            ("ada@example.com", [], "short", "error: "),
            ("ada@example.com", [], "Password1", "error: "),
        ],
    )
    def test_refusals(
        self,
        command: Command,
        migrated: Path,
        email: str,
        options: list[str],
        password: str,
        message: str,
    ) -> None:
        result = create(command, email, *options, password=password)
        assert result.exit_code == 1
        assert result.stderr.startswith(message)
        assert "unexpected" not in result.stderr
        assert password not in result.output
        assert listed(command) == {}

    def test_a_taken_address_in_another_spelling(self, command: Command, migrated: Path) -> None:
        assert create(command, "ada@example.com").exit_code == 0
        result = create(command, "ADA@example.com")
        assert result.exit_code == 1
        assert len(listed(command)) == 1

    def test_an_empty_line_is_no_password(self, command: Command, migrated: Path) -> None:
        assert create(command, "ada@example.com", password="").exit_code == 2

    def test_without_a_terminal_nothing_is_asked(self, command: Command, migrated: Path) -> None:
        result = command("users", "create", "ada@example.com", stdin=f"{PASSWORD}\n{PASSWORD}\n")
        assert result.exit_code == 2
        assert "--password-stdin" in result.stderr

    def test_a_schema_that_is_behind(self, command: Command) -> None:
        result = create(command, "ada@example.com")
        assert result.exit_code == 1
        assert "run: authapi db upgrade" in result.stderr


class TestChanges:
    def test_set_role_disable_and_enable(self, command: Command, migrated: Path) -> None:
        create(command, "ada@example.com", "--role", "admin")
        create(command, "bob@example.com")

        assert command("users", "set-role", "bob@example.com", "auditor").exit_code == 0
        assert command("users", "disable", "bob@example.com").exit_code == 0
        assert listed(command)["bob@example.com"][1:3] == ["auditor", "disabled"]
        assert command("users", "enable", "bob@example.com").exit_code == 0
        assert listed(command)["bob@example.com"][2] == "active"

    @pytest.mark.parametrize(
        "arguments", [["disable", "ada@example.com"], ["set-role", "ada@example.com", "user"]]
    )
    def test_the_last_admin_stays(self, command: Command, migrated: Path, arguments: list[str]) -> None:
        create(command, "ada@example.com", "--role", "admin")
        result = command("users", *arguments)
        assert result.exit_code == 1
        assert "last active administrator" in result.stderr
        assert listed(command)["ada@example.com"][1:3] == ["admin", "active"]

    @pytest.mark.parametrize(
        "arguments",
        [["disable", "x@example.com"], ["enable", "no address"], ["set-role", "x@example.com", "admin"]],
    )
    def test_an_unknown_user(self, command: Command, migrated: Path, arguments: list[str]) -> None:
        result = command("users", *arguments)
        assert (result.exit_code, result.stderr) == (1, "error: There is no such user.\n")

    def test_every_change_is_on_record_without_an_actor(self, command: Command, migrated: Path) -> None:
        create(command, "ada@example.com")
        command("users", "set-role", "ada@example.com", "auditor")
        command("users", "disable", "ada@example.com")
        command("users", "enable", "ada@example.com")
        with closing(sqlite3.connect(migrated / ".authapi" / "authapi.sqlite3")) as database:
            events = database.execute(
                "SELECT action, actor_id FROM audit_events WHERE action LIKE 'user.%' ORDER BY id"
            ).fetchall()
        assert events == [
            ("user.created", None),
            ("user.roles.changed", None),
            ("user.disabled", None),
            ("user.enabled", None),
        ]


class TestList:
    def test_limit(self, command: Command, migrated: Path) -> None:
        for name in ("cleo", "ada", "bob"):
            create(command, f"{name}@example.com")
        result = command("users", "list", "--limit", "2")
        assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [
            "email",
            "ada@example.com",
            "bob@example.com",
        ]
        assert result.stderr == "There are more than 2; see --limit.\n"
