"""Data protection: where secrets must not go."""

import re
from typing import Any

import pytest

from tests.asvs import sources
from tests.asvs.conftest import Answer

pytestmark = pytest.mark.one_database

# The same for everybody, and meant to be kept: the documentation and its files, the stylesheet, public keys.
CACHEABLE = re.compile(r"^/docs$|/docs/assets/|/pages/pages\.css|/\.well-known/")


def test_asvs_14_2_1(operations: list[tuple[str, dict[str, Any]]]) -> None:
    """No parameter of a path or query is a secret; the links of mails are pages, and outside of the API."""
    secret = re.compile(r"token|password|secret|code|key")
    assert not [
        f"{name} {parameter['name']}"
        for name, operation in operations
        for parameter in operation.get("parameters", [])
        if parameter["in"] in {"query", "path"} and secret.search(parameter["name"])
    ]


def test_asvs_14_2_3() -> None:
    """Few sources can open a connection, and none of them to a third party of our choice."""
    assert sources.importers("httpx") <= {"breached_passwords.py", "verify/http.py"}
    assert sources.importers("aiosmtplib") == {"mail/smtp.py"}
    assert not sources.importers("requests") | sources.importers("aiohttp")


def test_asvs_14_3_2(answers: list[Answer]) -> None:
    """What is about somebody is not kept by any cache."""
    kept = [a for a in answers if "no-store" not in a.headers["cache-control"]]
    assert not [a.request for a in kept if not CACHEABLE.search(a.path)]
