"""Authentication: how one gets in, and what is never asked."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from authapi import migrations
from authapi.database import Database
from authapi.models import PasswordCredential, User
from authapi.setting_groups import PasswordSettings
from tests.asvs import sources

pytestmark = pytest.mark.one_database

SECURITY = sources.ROOT / "SECURITY.md"
# A token of these is in the answer; SECURITY.md says what each asks for.
TOKEN_FIELDS = {"access_token", "refresh_token"}


def schemas_of(described: Any, document: dict[str, Any], seen: frozenset[str] = frozenset()) -> set[str]:
    """The names of all schemas that a part of the document refers to."""
    if isinstance(described, list):
        return set().union(*(schemas_of(item, document, seen) for item in described))
    if not isinstance(described, dict):
        return set()
    if "$ref" in described:
        name = described["$ref"].rpartition("/")[2]
        if name in seen:
            return set()
        return {name} | schemas_of(document["components"]["schemas"][name], document, seen | {name})
    return set().union(*(schemas_of(value, document, seen) for value in described.values()))


def documented_pathways() -> set[str]:
    """The routes in the table below SECURITY.md's heading on ways to a token."""
    section = SECURITY.read_text().partition("## Ways to a token")[2].partition("\n## ")[0]
    return {f"{method} {path}" for method, path in re.findall(r"`(POST|GET) (/[^`]+)`", section)}


def test_asvs_6_1_3(document: dict[str, Any], operations: list[tuple[str, dict[str, Any]]]) -> None:
    """Every operation that answers with a token is described, and nothing else is."""
    giving = set()
    for name, operation in operations:
        good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        fields = {
            field
            for schema in schemas_of(good, document)
            for field in document["components"]["schemas"][schema].get("properties", {})
        }
        if fields & TOKEN_FIELDS:
            giving.add(name)
    # The token of Basic is the text of the answer; it has no schema.
    assert giving | {"POST /login"} == documented_pathways()


def test_asvs_6_2_10() -> None:
    """Passwords do not grow old: neither a column nor a setting knows of an end."""
    columns = set(PasswordCredential.__table__.columns.keys())
    assert not {name for name in columns if re.search("expire|must_change|rotate|valid_until", name)}
    assert not {
        name for name in PasswordSettings.model_fields if re.search("age|expir|lifetime|history", name)
    }


async def test_asvs_6_3_2(tmp_path: Path) -> None:
    """A new installation has no accounts at all."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'fresh.sqlite3'}"
    await migrations.upgrade(url)
    database = Database(url)
    try:
        async with database.unit_of_work() as db:
            assert await db.scalar(select(func.count()).select_from(User)) == 0
    finally:
        await database.close()


def test_asvs_6_2_6() -> None:
    """Each field for a password hides it, may be pasted into and tells password managers what it is."""
    fields = []
    for path in sorted((sources.PACKAGE / "pages" / "templates").glob("*.html")):
        page = path.read_text()
        assert not re.search(r"<script|\son[a-z]+=", page), path.name
        fields += re.findall(r"password_field\(|<input[^>]*password[^>]*>", page)
        for field in [tag for tag in re.findall(r"<input[^>]*>", page) if "password" in tag]:
            assert 'type="password"' in field, path.name
            assert 'autocomplete="new-password"' in field, path.name
    assert fields


def test_asvs_6_4_2(document: dict[str, Any]) -> None:
    """Nobody is asked for hints or the maiden name of his mother."""
    names = {
        field
        for schema in document["components"]["schemas"].values()
        for field in schema.get("properties", {})
    }
    assert "new_password" in names
    assert not [
        name for name in names if name != "token_type_hint" and re.search("hint|question|maiden", name)
    ]


def test_asvs_6_5_3() -> None:
    """Codes and seeds come from the operating system's generator."""
    assert not sources.importers("random") | sources.importers("uuid.uuid1")
    assert "secrets" in {name for path, name in sources.imports() if path == "security/totp.py"}


def test_asvs_6_6_1(document: dict[str, Any]) -> None:
    """No code travels by telephone."""
    paths = " ".join(document["paths"])
    assert not re.search(r"sms|voice|call", paths)
    factors = json.dumps(
        [schema for name, schema in document["components"]["schemas"].items() if "Factor" in name]
    )
    assert not re.search(r"sms|phone", factors)
