"""`authapi users import`, `users export` and `promote`, as an operator runs them."""

import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.conftest import Command
from tests.cli.test_terminal import run_in_terminal
from tests.support.postgres import PostgresServer

BCRYPT = "$2b$04$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne"
SECRET_KEY = "the secret key of this installation, as long as it must be"


def emails(command: Command) -> list[str]:
    return [line.split("\t")[0] for line in command("users", "list").stdout.splitlines()[1:]]


class TestImport:
    def test_good_lines_are_taken_and_bad_ones_named(self, command: Command, migrated: Path) -> None:
        file = migrated / "users.jsonl"
        file.write_text(
            json.dumps({"email": "ada@example.com", "password_hash": BCRYPT})
            + f'\n{{"email": "bob@example.com", "password_hash": "{BCRYPT}'
            + '\n{"email": "eve@example.com"}\n'
        )
        result = command("users", "import", "users.jsonl")
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr == (
            "2 imported, 0 skipped: they have an account.\n"
            "error: 1 lines were refused: see users.jsonl.rejected.jsonl\n"
        )
        assert emails(command) == ["ada@example.com", "eve@example.com"]
        rejected = migrated / "users.jsonl.rejected.jsonl"
        assert [json.loads(line) for line in rejected.read_text().splitlines()] == [
            {"line": 2, "reason": "is not a JSON object, or names a field twice"}
        ]
        assert stat.S_IMODE(rejected.stat().st_mode) == 0o600

    def test_again_after_the_file_was_put_right(self, command: Command, migrated: Path) -> None:
        file = migrated / "users.csv"
        file.write_text("email,disabled\nada@example.com,\nbob,true\n")
        assert command("users", "import", "users.csv").exit_code == 1
        file.write_text("email,disabled\nada@example.com,\nbob@example.com,true\n")
        result = command("users", "import", "users.csv")
        assert (result.exit_code, result.stderr) == (0, "1 imported, 1 skipped: they have an account.\n")
        assert not (migrated / "users.csv.rejected.jsonl").exists()

    def test_dry_run(self, command: Command, migrated: Path) -> None:
        (migrated / "users").write_text('{"email": "ada@example.com"}\n')
        result = command("users", "import", "users", "--format", "jsonl", "--dry-run")
        assert (result.exit_code, result.stderr) == (
            0,
            "1 would be imported, 0 skipped: they have an account.\n",
        )
        assert emails(command) == []

    def test_a_file_that_cannot_be_read(self, command: Command, migrated: Path) -> None:
        (migrated / "users.csv").write_text(f"ada@example.com,{BCRYPT}\n")
        result = command("users", "import", "users.csv")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: users.csv: its first line must name the columns")
        assert BCRYPT not in result.output
        assert [path.name for path in migrated.iterdir() if path.is_file()] == ["users.csv"]

    @pytest.mark.parametrize("arguments", [["users"], ["missing.csv"], ["users", "--format", "xml"]])
    def test_usage(self, command: Command, migrated: Path, arguments: list[str]) -> None:
        (migrated / "users").touch()
        assert command("users", "import", *arguments).exit_code == 2

    def test_a_bar_on_a_terminal(self, migrated: Path) -> None:
        lines = (json.dumps({"email": f"u{n}@example.com"}) + "\n" for n in range(1000))
        (migrated / "users.jsonl").write_text("".join(lines))
        code, shown = run_in_terminal(migrated, "users", "import", "users.jsonl")
        assert code == 0, shown
        assert "Importing" in shown
        assert "1000 imported" in shown


class TestExport:
    @pytest.fixture
    def filled(self, command: Command, migrated: Path) -> Path:
        (migrated / "in.jsonl").write_text(
            json.dumps({"email": "ada@example.com", "password_hash": BCRYPT, "full_name": "=1+1"}) + "\n"
        )
        assert command("users", "import", "in.jsonl").exit_code == 0
        return migrated

    def test_to_stdout(self, command: Command, filled: Path) -> None:
        result = command("users", "export")
        assert (result.exit_code, result.stderr) == (0, "1 accounts exported.\n")
        document = json.loads(result.stdout)
        assert (document["email"], document["roles"]) == ("ada@example.com", ["user"])
        assert "password_hash" not in document

    def test_to_a_file_of_the_owner(self, command: Command, filled: Path) -> None:
        file = filled / "out.csv"
        file.write_text("older")
        file.chmod(0o644)
        result = command("users", "export", "out.csv", "--include-password-hashes")
        assert result.exit_code == 0
        assert result.stderr.startswith("The export holds password hashes: keep it like the database")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        header, line = file.read_text().splitlines()
        assert header.endswith(",password_hash")
        assert line.endswith(f",{BCRYPT}")
        assert ",'=1+1," in line
        assert sorted(path.name for path in filled.iterdir() if path.is_file()) == ["in.jsonl", "out.csv"]

    def test_a_file_that_cannot_be_written(self, command: Command, filled: Path) -> None:
        result = command("users", "export", "missing/out.csv")
        assert (result.exit_code, result.stderr) == (1, "error: missing/out.csv: No such file or directory\n")

    def test_who_is_asked_can_say_no(self, filled: Path) -> None:
        for answer, code in (("n", 1), ("y", 0)):
            exit_code, shown = run_in_terminal(
                filled, "users", "export", "out.csv", "--include-password-hashes", answers={"[y/N]: ": answer}
            )
            assert exit_code == code, shown
            assert (filled / "out.csv").exists() is (code == 0)


@pytest.fixture
def target(postgres_server: PostgresServer) -> Iterator[str]:
    name = f"promoted_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


class TestPromote:
    def test_moves_and_says_what_comes_next(self, command: Command, migrated: Path, target: str) -> None:
        (migrated / "users.jsonl").write_text('{"email": "ada@example.com"}\n')
        command("users", "import", "users.jsonl")
        result = command("promote", "--to", target)
        assert result.exit_code == 0, result.stderr
        assert "users\t1\n" in result.stdout
        assert "rows; users ...\n" in result.stderr
        assert "set AUTHAPI_DATABASE__URL" in result.stderr
        assert "put its content into AUTHAPI_SECRET_KEY" in result.stderr
        listed = command("users", "list", AUTHAPI_DATABASE__URL=target)
        assert "ada@example.com" in listed.stdout

        again = command("promote", "--to", target, AUTHAPI_SECRET_KEY=SECRET_KEY)
        assert again.exit_code == 1
        assert again.stderr.startswith("error: the target is not empty, it has ")

    def test_a_bar_on_a_terminal(self, migrated: Path, target: str) -> None:
        code, shown = run_in_terminal(migrated, "promote", "--to", target)
        assert code == 0, shown
        assert "Everything has arrived" in shown

    @pytest.mark.parametrize("url", ["sqlite:///other.sqlite3", "mysql://x", "postgresql"])
    def test_another_kind_of_target(self, command: Command, migrated: Path, url: str) -> None:
        result = command("promote", "--to", url)
        assert result.exit_code == 2
        assert "--to" in result.stderr

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("postgres://ada:hunter2@127.0.0.1:1/accounts", "--to: the database 127.0.0.1:1/accounts "),
            ("postgres://ada:hunter2@127.0.0.1:x/accounts", "--to: is malformed"),
            ("postgres://ada:hunter2@127.0.0.1:1/accounts?speed=1", "--to: is malformed"),
        ],
    )
    def test_a_target_that_does_not_work(
        self, command: Command, migrated: Path, url: str, reason: str
    ) -> None:
        result = command("promote", "--to", url)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: {reason}")
        assert "hunter2" not in result.output

    def test_a_source_that_is_postgresql(self, command: Command, migrated: Path, target: str) -> None:
        result = command("promote", "--to", target, AUTHAPI_DATABASE__URL=target)
        assert result.exit_code == 1
        assert "pg_dump" in result.stderr

    def test_a_value_that_postgresql_would_cut(self, command: Command, migrated: Path, target: str) -> None:
        (migrated / "users.jsonl").write_text('{"email": "ada@example.com"}\n')
        command("users", "import", "users.jsonl")
        with closing(sqlite3.connect(migrated / ".authapi" / "authapi.sqlite3")) as database, database:
            database.execute("UPDATE users SET phone = ?", ("1" * 33,))
        result = command("promote", "--to", target)
        assert result.exit_code == 1
        assert "value too long for type character varying(32)" in result.stderr
        assert "nothing was moved" in result.stderr
        assert command("users", "list", AUTHAPI_DATABASE__URL=target).stdout.count("\n") == 1
