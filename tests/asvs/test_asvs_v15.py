"""Secure coding: models say exactly what goes in and out."""

import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.asvs import sources

pytestmark = pytest.mark.one_database

# RFC 6749 section 3.1: unknown parameters are ignored.
LENIENT = {"TokenForm", "IntrospectionForm", "RevocationForm"}


def test_asvs_15_2_3(tmp_path: Path) -> None:
    """The wheel holds the package, its migrations and nothing else; no test, no repository (also 13.4.1)."""
    configuration = tomllib.loads((sources.ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert configuration["targets"]["wheel"]["packages"] == ["src/authapi"]
    if find_spec("hatchling") is None:
        return
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=sources.ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"authapi"}
    assert not [
        name for name in names if "test" in name or ".git" in name or name.endswith((".env", ".sqlite3"))
    ]


def test_asvs_15_3_1(operations: list[tuple[str, dict[str, Any]]]) -> None:
    """Every JSON answer has a model, so no column gets out because somebody added it to a table."""
    bare = [
        f"{name} {status}"
        for name, operation in operations
        for status, answer in operation["responses"].items()
        for kind, content in answer.get("content", {}).items()
        if status.startswith("2") and kind == "application/json" and not content.get("schema")
    ]
    assert not bare


def test_asvs_15_3_2() -> None:
    """No outgoing request follows a redirect."""
    following = [
        place
        for place, _, call in sources.calls()
        for keyword in call.keywords
        if keyword.arg == "follow_redirects" and getattr(keyword.value, "value", True)
    ]
    assert not following


def test_asvs_15_3_3(document: dict[str, Any], operations: list[tuple[str, dict[str, Any]]]) -> None:
    """Every body refuses fields that it does not know."""
    names = {
        content["schema"].get("$ref", "").rpartition("/")[2]
        for _, operation in operations
        for content in operation.get("requestBody", {}).get("content", {}).values()
    } | {
        option["$ref"].rpartition("/")[2]
        for _, operation in operations
        for content in operation.get("requestBody", {}).get("content", {}).values()
        for option in content["schema"].get("anyOf", [])
        if "$ref" in option
    }
    schemas = document["components"]["schemas"]
    bodies = names - {""}
    assert len(bodies) > 15
    assert not [name for name in bodies - LENIENT if schemas[name].get("additionalProperties") is not False]


@pytest.mark.parametrize("field", ["is_admin", "role", "roles", "id", "email_verified", "status", "scopes"])
async def test_asvs_15_3_3_registration(field: str, client: Any) -> None:
    """Nobody makes himself an administrator by one more field."""
    body = {
        "email": "mallory@example.com",
        "password": "correct Horse 7 battery",
        "full_name": "M",
        field: "admin",
    }
    response = await client.post("/api/auth/register", json=body)
    assert response.status_code == 422


def test_asvs_15_3_6() -> None:
    """No script is ours; those of the documentation come from Swagger UI and ReDoc, noted by digest."""
    scripts = {path.parent.name for path in sources.PACKAGE.rglob("*.js")}
    assert scripts <= {"docs"}
    pages = [path.read_text() for path in sources.PACKAGE.rglob("*.html")]
    assert pages
    assert not [page for page in pages if "<script" in page]
