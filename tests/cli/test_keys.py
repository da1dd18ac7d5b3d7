from pathlib import Path

from tests.cli.conftest import Command


class TestList:
    def test_the_shared_secret_of_hs256_is_named_by_its_kid_only(
        self, command: Command, migrated: Path
    ) -> None:
        secret = "k3J9sL2mQ8vX7pZ4wT6yB1nC5dF0gH2a"
        result = command(
            "keys", "list", AUTHAPI_ACCESS_TOKEN__ALGORITHM="HS256", AUTHAPI_ACCESS_TOKEN__SECRET=secret
        )
        header, row = [line.split("\t") for line in result.stdout.splitlines()]
        assert header == ["kid", "algorithm", "state", "activates_at"]
        assert row[1:] == ["HS256", "current", ""]
        assert secret not in result.output

    def test_before_the_first_start_there_is_none(self, command: Command, migrated: Path) -> None:
        result = command("keys", "list")
        assert (result.exit_code, result.stdout) == (0, "kid\talgorithm\tstate\tactivates_at\n")
