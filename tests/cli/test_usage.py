"""What the command says to nonsense: usage, one line, exit code 2."""

import pytest

from authapi import __version__
from tests.cli.conftest import Command


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["--nonsense"],
            ["serve", "--port", "70000"],
            ["serve", "--port", "http"],
            ["serve", "--workers", "0"],
            ["serve", "extra"],
            ["db", "downgrade"],
            ["users", "create"],
            ["users", "create", "ada@example.com", "--name", ""],
            ["users", "create", "ada@example.com", "--name", "two\nlines"],
            ["users", "set-role", "ada@example.com"],
            ["users", "list", "--limit", "0"],
            ["keys", "lose"],
        ],
    )
    def test_nonsense_is_refused(self, command: Command, arguments: list[str]) -> None:
        result = command(*arguments)
        assert result.exit_code == 2
        assert "Usage: authapi" in result.stderr
        assert "Error: " in result.stderr
        assert result.stdout == ""

    @pytest.mark.parametrize("group", [[], ["db"], ["users"], ["keys"]])
    def test_without_arguments_the_commands_are_listed(self, command: Command, group: list[str]) -> None:
        result = command(*group)
        assert result.exit_code == 2
        assert "Commands:" in result.output

    @pytest.mark.parametrize(
        "arguments", [[], ["serve"], ["doctor"], ["openapi"], ["users", "create"], ["db", "check"]]
    )
    def test_help(self, command: Command, arguments: list[str]) -> None:
        result = command(*arguments, "--help")
        assert result.exit_code == 0
        assert "Usage: authapi" in result.stdout
        assert result.stderr == ""

    def test_version(self, command: Command) -> None:
        result = command("--version")
        assert (result.exit_code, result.stdout) == (0, f"authapi {__version__}\n")
