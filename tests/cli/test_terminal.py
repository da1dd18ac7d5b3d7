"""What only a terminal gets: colours, tables, a question for the password that is not echoed."""

import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.accounts import PASSWORD
from tests.support.command import clean_environment, command_line

SECONDS = 60.0


def run_in_terminal(
    directory: Path, *arguments: str, answers: dict[str, str] | None = None, no_color: bool = False
) -> tuple[int, str]:
    """The exit code and everything that the terminal showed; `answers` are typed after their prompts."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        command_line(*arguments),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=directory,
        env=clean_environment(TERM="xterm-256color", COLUMNS="200", NO_COLOR="1" if no_color else ""),
        # The new session takes the terminal as its own, where getpass looks for it.
        start_new_session=True,
    )
    os.close(terminal)
    shown = ""
    remaining = dict(answers or {})
    deadline = time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            try:
                shown += os.read(controller, 4096).decode()
            except OSError:  # Linux: the other end was closed
                break
            for prompt in [prompt for prompt in remaining if shown.endswith(prompt)]:
                os.write(controller, f"{remaining.pop(prompt)}\n".encode())
    finally:
        os.close(controller)
    return process.wait(SECONDS), shown


class TestColours:
    @pytest.mark.parametrize("no_color", [False, True])
    def test_unless_they_are_not_wanted(self, tmp_path: Path, no_color: bool) -> None:
        (tmp_path / ".env").write_text("AUTHAPI_LOG__LEVEL=chatty\n")
        code, shown = run_in_terminal(tmp_path, "db", "check", no_color=no_color)
        assert code == 1
        assert "AUTHAPI_LOG__LEVEL" in shown
        assert ("\x1b[31m" in shown) is not no_color
        assert ("\x1b" in shown) is not no_color


class TestPasswordPrompt:
    def test_it_is_asked_twice_and_not_shown(self, migrated: Path) -> None:
        answers = {"Password: ": PASSWORD, "Repeat for confirmation: ": PASSWORD}
        code, shown = run_in_terminal(migrated, "users", "create", "ada@example.com", answers=answers)
        assert code == 0, shown
        assert PASSWORD not in shown

        code, shown = run_in_terminal(migrated, "users", "list")
        assert code == 0
        assert "\t" not in shown
        assert "ada@example.com  " in shown
