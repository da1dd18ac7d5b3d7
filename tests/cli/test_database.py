import socket
import sqlite3
import ssl
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.smtp_server import make_certificate

BEHIND = "error: the database schema is behind this release; run: authapi db upgrade\n"


class TestCheckAndUpgrade:
    def test_upgrade_brings_an_empty_database_up_to_date(self, command: Command) -> None:
        before = command("db", "check")
        assert (before.exit_code, before.stdout, before.stderr) == (1, "", BEHIND)

        assert command("db", "upgrade").exit_code == 0

        after = command("db", "check")
        assert (after.exit_code, after.stdout, after.stderr) == (0, "current\n", "")

    def test_upgrade_again_changes_nothing(self, command: Command, migrated: Path) -> None:
        assert command("db", "upgrade").exit_code == 0
        assert command("db", "check").stdout == "current\n"

    def test_a_schema_of_a_newer_release_is_left_alone(self, command: Command, migrated: Path) -> None:
        with closing(sqlite3.connect(migrated / ".authapi" / "authapi.sqlite3")) as database, database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")

        assert command("db", "upgrade").exit_code == 0
        assert command("db", "check").stdout == "ahead\n"


class TestUnreachable:
    @pytest.mark.parametrize("arguments", [["db", "check"], ["db", "upgrade"], ["users", "list"]])
    def test_one_line_names_the_variable(self, command: Command, arguments: list[str]) -> None:
        result = command(*arguments, AUTHAPI_DATABASE__URL="postgres://ada:hunter2@127.0.0.1:1/accounts")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: AUTHAPI_DATABASE__URL: the database 127.0.0.1:1/accounts ")
        assert result.stderr.count("\n") == 1
        assert "hunter2" not in result.output

    @pytest.mark.parametrize("arguments", [["db", "check"], ["db", "upgrade"], ["users", "list"]])
    @pytest.mark.parametrize(
        "url", ["postgresql://ada:hunter2@host:port/x", "postgresql://ada:hunter2@127.0.0.1:1/x?speed=1"]
    )
    def test_a_malformed_url_is_not_repeated(self, command: Command, arguments: list[str], url: str) -> None:
        result = command(*arguments, AUTHAPI_DATABASE__URL=url)
        assert result.exit_code == 1
        assert result.stderr == "error: AUTHAPI_DATABASE__URL: is malformed or holds an unknown option\n"

    def test_a_certificate_that_nobody_trusts(self, command: Command, directory: Path) -> None:
        (directory / "trusted").mkdir()
        trusted, _ = make_certificate(directory / "trusted")
        _, context = make_certificate(directory)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                # "Do you speak TLS?" (SSLRequest) "S": yes.
                connection.recv(8)
                connection.send(b"S")
                with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True):
                    pass

        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(30)
            serving = threading.Thread(target=answer)
            serving.start()
            url = f"postgresql://ada@127.0.0.1:{listener.getsockname()[1]}/x?ssl=verify-full"
            result = command("db", "check", AUTHAPI_DATABASE__URL=url, PGSSLROOTCERT=str(trusted))
            serving.join()
        assert result.exit_code == 1
        assert "CERTIFICATE_VERIFY_FAILED" in result.stderr
        assert result.stderr.count("\n") == 1

    def test_a_data_directory_that_cannot_be_made(self, command: Command, directory: Path) -> None:
        (directory / "file").touch()
        result = command("db", "upgrade", AUTHAPI_DATA_DIR="file/data")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: AUTHAPI_DATA_DIR: ")
        assert result.stderr.count("\n") == 1

    def test_a_file_that_is_no_database(self, command: Command, directory: Path) -> None:
        (directory / ".authapi").mkdir()
        (directory / ".authapi" / "authapi.sqlite3").write_text("no database " * 100)
        result = command("db", "check")
        assert result.exit_code == 1
        assert "file is not a database" in result.stderr
