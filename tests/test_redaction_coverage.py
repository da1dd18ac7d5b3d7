"""Every name under which a secret travels or is stored is known to the log's redaction (ASVS 16.2.5).

The names are collected from the requests and answers, the settings and the tables themselves: a new field
that looks like a secret and is not covered fails here. Cover it in `authapi.redaction`, or say below why it
holds none.
"""

import importlib
import inspect
import io
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import structlog
from pydantic import BaseModel
from sqlalchemy import LargeBinary

import authapi.schemas
from authapi import setting_groups, settings
from authapi.logs import LogFormat, configure_logging
from authapi.models import Base
from authapi.redaction import REDACTED, redact

SECRET = "hunter2-which-no-pattern-knows"
LOOKS_SECRET = re.compile(
    r"pass|token|secret|code|pepper|hash|digest|private|sealed|credential|otp|qr|cookie|authorization|jwt"
    r"|(^|_)keys?($|_)|recovery"
)
HARMLESS = {
    "token_type": "always bearer",
    "token_type_hint": "the name of a kind",
    "token_delivery": "body or cookie",
    "token_endpoint": "a public address",
    "token_endpoint_auth_methods_supported": "names of methods",
    "tokens_not_before": "an instant",
    "key_lifetime": "a duration",
    "hash_workers": "a number",
    "hash_queue": "a number",
    "full_name_key": "what a name is searched by",
    "keys": "the public ones",
}


def modules() -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(authapi.schemas.__path__, "authapi.schemas."):
        yield importlib.import_module(module.name)
    yield setting_groups
    yield settings


def named_fields() -> Iterator[tuple[str, str, bool]]:
    """Where, under which name, and whether its type says that it is a secret."""
    for module in modules():
        for model in vars(module).values():
            if (
                inspect.isclass(model)
                and issubclass(model, BaseModel)
                and model.__module__ == module.__name__
            ):
                for name, field in model.model_fields.items():
                    for spelling in {name, field.alias or name}:
                        yield f"{model.__name__}.{spelling}", spelling, "SecretStr" in repr(field.annotation)
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            yield f"{table.name}.{column.name}", column.name, isinstance(column.type, LargeBinary)


SECRET_NAMES = sorted(
    {name for _, name, is_secret in named_fields() if is_secret or LOOKS_SECRET.search(name)}
    - HARMLESS.keys()
)


def test_the_names_are_found() -> None:
    """The collection itself works: one of each source, and none of the exceptions is out of date."""
    names = {name for _, name, _ in named_fields()}
    assert {"new_password", "mfa_token", "pepper_previous", "sealed_private_key", "chain_hash"} <= names
    assert names >= HARMLESS.keys()
    assert len(SECRET_NAMES) > 25


def test_a_type_that_says_secret_has_no_exception() -> None:
    assert [where for where, name, is_secret in named_fields() if is_secret and name in HARMLESS] == []


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_is_never_written(name: str) -> None:
    values: dict[str, Any] = {
        name: SECRET,
        "body": {name: SECRET, "items": [{name: [SECRET]}, ({name: {"x": SECRET}},)]},
        f"AUTHAPI_{name.upper()}": SECRET,
        f"AUTHAPI_GROUP__{name.upper()}": SECRET,
        name.replace("_", "-").title(): SECRET,
    }
    formats: tuple[LogFormat, ...] = ("json", "console")
    for format in formats:
        stream = io.StringIO()
        configure_logging(format=format, level="info", stream=stream)
        try:
            structlog.stdlib.get_logger("authapi.test").info("request", **values)
            with structlog.contextvars.bound_contextvars(**{name: SECRET}):
                structlog.stdlib.get_logger("authapi.test").info("request")
        finally:
            configure_logging(format="json", level="info")
        assert REDACTED in stream.getvalue()
        assert SECRET not in stream.getvalue()


def test_addresses_that_carry_a_password() -> None:
    """These settings are no secrets as a whole; what may be in them is."""
    urls = {where: name for where, name, _ in named_fields() if "Settings." in where and name.endswith("url")}
    assert {"DatabaseSettings.url", "MailSettings.url", "RateLimitSettings.storage_url"} <= urls.keys()
    for name in set(urls.values()):
        shown = redact({name: f"scheme+driver://authapi:{SECRET}@db.example.com:5432/authapi"})
        assert SECRET not in str(shown)
        assert "db.example.com" in str(shown)
