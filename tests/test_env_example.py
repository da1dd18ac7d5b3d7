"""The example of an .env file: only settings that exist, with values that are accepted."""

import re
from pathlib import Path

import pytest

from authapi.settings import load_settings, setting_fields

EXAMPLE = Path(__file__).resolve().parents[1] / ".env.example"


def examples() -> dict[str, str]:
    return dict(re.findall(r"^#(AUTHAPI_\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def test_names_only_settings_that_exist() -> None:
    assert examples()
    assert examples().keys() <= setting_fields().keys()


def test_changes_nothing_as_it_is() -> None:
    # Whoever copies it must not find half of it in force.
    assert all(not line or line.startswith("#") for line in EXAMPLE.read_text().splitlines())


def test_every_line_is_accepted_when_it_is_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in setting_fields():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in examples().items()))
    settings = load_settings()
    assert settings.public_url == examples()["AUTHAPI_PUBLIC_URL"]
    assert settings.secret_key is None
