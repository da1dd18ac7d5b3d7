"""Writes the parts of the documentation that follow from the code: `python -m tests.support.documents`."""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic_core import PydanticUndefined

from authapi import errors
from authapi.settings import Settings, setting_fields

ROOT = Path(__file__).parents[2]
ERRORS = ROOT / "docs" / "errors.md"
README = ROOT / "README.md"
SETTINGS_BEGIN, SETTINGS_END = "<!-- settings: begin -->\n", "<!-- settings: end -->"


def error_classes(
    base: type[errors.AuthApiError] = errors.AuthApiError,
) -> Iterator[type[errors.AuthApiError]]:
    """Every error class below `base`, each once, parents first."""
    for child in base.__subclasses__():
        # Tests define some of their own.
        if child.__module__ == errors.__name__:
            yield child
            yield from error_classes(child)


def error_table() -> str:
    """The whole of docs/errors.md."""
    lines = [
        "# Error codes",
        "",
        "Every failure is answered with the envelope",
        '`{"success": false, "message": …, "data": null, "error": {"code": …, "request_id": …}}`; `fields`',
        "is added with status 422. Act on `code`: messages may change. 429 and 503 carry `Retry-After` in seconds.",
        "The OAuth2 routes answer the codes of RFC 6749 instead, in the last column.",
        "",
        "| status | code | message | OAuth2 |",
        "|---|---|---|---|",
    ]
    known = {error.code: error for error in error_classes() if "code" in vars(error)}
    known[errors.InternalError.code] = errors.InternalError
    for code, error in sorted(known.items(), key=lambda item: (item[1].status_code, item[0])):
        lines.append(f"| {error.status_code} | `{code}` | {error.message} | `{error.oauth2_error}` |")
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """The settings, one row a variable, for the README."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in setting_fields().items():
        lines.append(f"| `{name}` | {_default(name)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default(name: str) -> str:
    *group, leaf = name.removeprefix("AUTHAPI_").lower().split("__")
    fields = Settings.model_fields
    if group:
        annotation = fields[group[0]].annotation
        assert annotation is not None
        fields = annotation.model_fields
    field = next(field for key, field in fields.items() if leaf in {key, field.alias})
    if field.default is PydanticUndefined:
        return "the number of cores"
    value = field.default
    if value in (None, [], ""):
        return ""
    if hasattr(value, "total_seconds"):
        return f"`{_duration(int(value.total_seconds()))}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _duration(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def with_settings_table(readme: str) -> str:
    """The README with its settings table renewed."""
    pattern = re.compile(re.escape(SETTINGS_BEGIN) + ".*?" + re.escape(SETTINGS_END), re.DOTALL)
    return pattern.sub(lambda _: SETTINGS_BEGIN + settings_table() + SETTINGS_END, readme)


if __name__ == "__main__":
    ERRORS.write_text(error_table())
    README.write_text(with_settings_table(README.read_text()))
