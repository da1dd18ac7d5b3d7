"""Takes secrets, and characters that break lines, out of what is about to be logged (ASVS 16.2.5, 16.4.1)."""

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import Any
from uuid import UUID

REDACTED = "[redacted]"

_SECRET_KEYS = frozenset(
    {
        "authorization",
        "proxy_authorization",
        "cookie",
        "set_cookie",
        "code",
        "recovery_codes",
        "otpauth_uri",
        "qr_svg",
        "pepper",
        "api_key",
        "secret_key",
        "jwt",
    }
)
_SECRET_ENDINGS = ("password", "token", "secret", "hash", "digest", "private_key")
_SECRET_BEGINNINGS = ("sealed_",)

_SECRET_TEXT = (
    (re.compile(r"\b(Bearer) +[A-Za-z0-9._~+/=-]{12,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\b(Basic) +[A-Za-z0-9+/=_-]{4,}"), rf"\1 {REDACTED}"),
    (re.compile(r"\bauthapi_[a-z]{1,12}_[A-Za-z0-9_-]{8,}"), REDACTED),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?"), REDACTED),
    (re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{22,53}"), REDACTED),
    (
        re.compile(r"([?&](?:[a-z_]{0,20}token|code|password|[a-z_]{0,20}secret)=)[^&\s\"']+", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    # Credentials of a database, Redis or SMTP URL.
    (re.compile(r"(://[^/\s:@]{0,64}:)[^/\s@]{1,256}@"), rf"\1{REDACTED}@"),
)
# Most text is innocent: one search instead of seven substitutions. Every pattern above needs one of these.
_SUSPECT = re.compile(r"bearer|Basic|authapi_|eyJ|\$2|[?&][a-z]|://", re.IGNORECASE)
_MAX_TEXT = 8192
_MAX_DEPTH = 8
_PLAIN = (date, time, timedelta, Decimal, PurePath, UUID, IPv4Address, IPv6Address, IPv4Network, IPv6Network)


def redact(value: Any, *, _depth: int = 0) -> Any:
    """Returns a copy of `value` that is safe to write: secrets replaced, strings on one line, 8 KiB at most.

    Knows strings, numbers, collections and a few plain types. Of anything else only the type is named:
    the repr of a model or an exception may hold whatever it was given.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _redact_items(value, _depth + 1) if _depth < _MAX_DEPTH else "…"
    if isinstance(value, str):
        return one_line(_mask(value[:_MAX_TEXT]))
    if isinstance(value, BaseException):
        return exception_name(value)
    return str(value) if isinstance(value, _PLAIN) else f"<{type(value).__qualname__}>"


def _redact_items(value: Mapping[Any, Any] | Iterable[Any], depth: int) -> Any:
    if isinstance(value, Mapping):
        return {
            one_line(str(key)[:128]): REDACTED if _is_secret(key) else redact(item, _depth=depth)
            for key, item in value.items()
        }
    return [redact(item, _depth=depth) for item in value]


def one_line(text: str) -> str:
    """Escapes control, format and separator characters: no forged line and no ANSI sequence gets through."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def describe_exception(error: BaseException) -> str:
    """Renders the chain of exceptions as types and stack frames, several lines, without any message.

    Messages quote what was processed: an IntegrityError its parameters, a ValueError its input. What a
    driver says without quoting is kept: SQLSTATE, SQLite's error name, errno.
    """
    lines: list[str] = []
    for link in reversed(list(_chain(error))):
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(link.__traceback__, limit=-30)
        ]
        lines.append(exception_name(link))
    return "\n".join(lines)


def exception_name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    hint = (
        getattr(error, "sqlstate", None)
        or getattr(error, "sqlite_errorname", None)
        or (error.strerror if isinstance(error, OSError) else None)
    )
    return f"{name} [{one_line(_mask(str(hint)[:200]))}]" if hint else name


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < 8:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _mask(text: str) -> str:
    if _SUSPECT.search(text) is None:
        return text
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _is_secret(key: object) -> bool:
    name = str(key).lower().replace("-", "_")
    # A setting's variable is as secret as the setting, and what was replaced as what replaced it.
    name = name.removeprefix("authapi_").rpartition("__")[2].removesuffix("_previous")
    return name in _SECRET_KEYS or name.endswith(_SECRET_ENDINGS) or name.startswith(_SECRET_BEGINNINGS)
