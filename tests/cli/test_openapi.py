import json
from pathlib import Path

from tests.cli.conftest import Command


class TestOpenapi:
    def test_the_document_needs_neither_database_nor_secret(self, command: Command, directory: Path) -> None:
        result = command(
            "openapi",
            AUTHAPI_ENVIRONMENT="production",
            AUTHAPI_DATABASE__URL="postgresql://nobody@127.0.0.1:1/none",
        )
        assert result.exit_code == 0, result.stderr
        document = json.loads(result.stdout)
        assert document["openapi"].startswith("3.")
        assert "/api/auth/login" in document["paths"]
        assert json.dumps(document, indent=2, sort_keys=True) == result.stdout.rstrip("\n")
        assert list(directory.iterdir()) == []

    def test_it_is_the_same_for_every_installation(self, command: Command) -> None:
        assert command("openapi").stdout == command("openapi", AUTHAPI_ENVIRONMENT="production").stdout
