"""`authapi keys rotate` and `authapi secret rotate`."""

from datetime import timedelta
from pathlib import Path

import time_machine

from authapi import clock
from tests.cli.conftest import Command

OLD = "the first secret key of an installation"
NEW = "the second one, which is just as long as that"


def states(command: Command) -> dict[str, str]:
    lines = command("keys", "list").stdout.splitlines()[1:]
    return {kid: state for kid, _, state, _ in (line.split("\t") for line in lines)}


class TestKeysRotate:
    def test_next_while_current_goes_on(self, command: Command, migrated: Path) -> None:
        first = command("keys", "rotate").stdout.strip()
        assert states(command) == {first: "current"}
        second = command("keys", "rotate").stdout.strip()
        assert states(command) == {second: "next", first: "current"}
        refused = command("keys", "rotate")
        assert refused.exit_code == 1
        assert refused.stderr.startswith(f"error: the key {second} is published already and signs from ")

    def test_the_next_one_takes_over(self, command: Command, migrated: Path) -> None:
        first, second = (command("keys", "rotate").stdout.strip() for _ in range(2))
        for minutes, state in ((11, "retired"), (76, "expired")):
            with time_machine.travel(clock.utc_now() + timedelta(minutes=minutes)):
                assert states(command) == {second: "current", first: state}

    def test_compromised(self, command: Command, migrated: Path) -> None:
        first, second = (command("keys", "rotate").stdout.strip() for _ in range(2))
        result = command("keys", "rotate", "--compromised")
        assert result.exit_code == 0
        assert states(command) == {second: "expired", first: "expired", result.stdout.strip(): "current"}

    def test_hs256(self, command: Command, migrated: Path) -> None:
        hs256 = {
            "AUTHAPI_ACCESS_TOKEN__ALGORITHM": "HS256",
            "AUTHAPI_ACCESS_TOKEN__SECRET": "a shared secret of more than 32 bytes",
        }
        result = command("keys", "rotate", **hs256)
        assert result.exit_code == 1
        assert "AUTHAPI_ACCESS_TOKEN__SECRET" in result.stderr


class TestSecretRotate:
    def test_counts_and_what_remains_to_do(self, command: Command, migrated: Path) -> None:
        command("keys", "rotate", AUTHAPI_SECRET_KEY=OLD)
        both = {"AUTHAPI_SECRET_KEY": NEW, "AUTHAPI_SECRET_KEY_PREVIOUS": OLD}
        for count in (1, 0):
            result = command("secret", "rotate", **both)
            assert result.exit_code == 0
            assert f"signing keys: {count} of 1 sealed again" in result.stdout.splitlines()
            assert "after 14 days no living session has one" in result.stderr
        assert "after" not in command("secret", "rotate", AUTHAPI_SECRET_KEY=NEW).stderr

    def test_the_old_one_is_missing(self, command: Command, migrated: Path) -> None:
        command("keys", "rotate", AUTHAPI_SECRET_KEY=OLD)
        result = command("secret", "rotate", AUTHAPI_SECRET_KEY=NEW)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: AUTHAPI_SECRET_KEY: the stored signing keys were sealed")
