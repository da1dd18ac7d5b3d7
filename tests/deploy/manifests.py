"""Reads what lies in deploy/, and the configuration that it gives to authapi."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from authapi.production_checks import production_problems
from authapi.settings import PREFIX, load_settings, setting_fields
from tests.support.command import forget_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
STRONG = "Vq0k5mYtT1zR8sN3bE7wXc2LpJ9hUgAf"

# What stands in the secrets that the manifests only name.
SECRETS = {
    "AUTHAPI_SECRET_KEY": STRONG,
    "AUTHAPI_DATABASE__URL": f"postgresql://authapi:{STRONG}@postgres:5432/authapi?ssl=verify-full",
    "AUTHAPI_RATE_LIMIT__STORAGE_URL": f"redis://:{STRONG}@valkey:6379/0",
    "AUTHAPI_MAIL__URL": "smtps://mail.example.com",
}


def read_documents(path: Path) -> list[dict[str, Any]]:
    """Every document of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def unknown_settings(names: Iterable[str]) -> set[str]:
    """Variables that authapi would refuse to start with."""
    ours = {name.removesuffix("_FILE") for name in names if name.startswith(PREFIX)}
    return ours - setting_fields().keys()


def problems_in_production(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], *, workers: int
) -> list[str]:
    """What production has against these variables; raises `InvalidSettings` as the start would."""
    forget_settings(monkeypatch)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.is_production
    return production_problems(settings, workers=workers)
