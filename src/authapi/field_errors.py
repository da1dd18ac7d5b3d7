"""Turns Pydantic's complaints into ours, in words that cannot hold what was submitted."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic_core.core_schema import ErrorType

from authapi.errors import FieldError

# An unknown key is repeated in its `loc`: cut, so that nobody gets a body of 64 KiB back.
_LOC_LENGTH = 64
# 10,000 unknown keys in one body must not become 10,000 answers.
_MAX_FIELDS = 32

_BUILT_IN: frozenset[str] = frozenset(get_args(ErrorType))

# Only these constants of the schema may stand in a message; every other part of an error's context, such as
# `error`, `reason` or `tag`, may quote the input.
_SCHEMA_CONSTANTS = frozenset({"min_length", "max_length", "gt", "ge", "lt", "le", "expected"})

_TEXTS: Mapping[str, tuple[str, str]] = {
    "missing": ("required", "This field is required."),
    "extra_forbidden": ("unknown_field", "There is no such field here."),
    "invalid_key": ("unknown_field", "There is no such field here."),
    "string_type": ("wrong_type", "This must be a string."),
    "string_too_short": ("too_short", "This must have at least {min_length} characters."),
    "string_too_long": ("too_long", "This must have at most {max_length} characters."),
    "string_pattern_mismatch": ("wrong_format", "This does not have the expected format."),
    "string_unicode": ("wrong_format", "This is not valid Unicode text."),
    "too_short": ("too_short", "This must have at least {min_length} items."),
    "too_long": ("too_long", "This must have at most {max_length} items."),
    "bool_type": ("wrong_type", "This must be true or false."),
    "bool_parsing": ("wrong_type", "This must be true or false."),
    "int_type": ("wrong_type", "This must be a whole number."),
    "int_parsing": ("wrong_type", "This must be a whole number."),
    "int_parsing_size": ("too_large", "This number is too large."),
    "int_from_float": ("wrong_type", "This must be a whole number."),
    "float_type": ("wrong_type", "This must be a number."),
    "float_parsing": ("wrong_type", "This must be a number."),
    "finite_number": ("wrong_type", "This must be a finite number."),
    "greater_than": ("too_small", "This must be greater than {gt}."),
    "greater_than_equal": ("too_small", "This must be at least {ge}."),
    "less_than": ("too_large", "This must be less than {lt}."),
    "less_than_equal": ("too_large", "This must be at most {le}."),
    "enum": ("not_allowed", "This must be {expected}."),
    "literal_error": ("not_allowed", "This must be {expected}."),
    "list_type": ("wrong_type", "This must be a list."),
    "set_type": ("wrong_type", "This must be a list."),
    "frozen_set_type": ("wrong_type", "This must be a list."),
    "tuple_type": ("wrong_type", "This must be a list."),
    "dict_type": ("wrong_type", "This must be an object."),
    "model_type": ("wrong_type", "This must be an object."),
    "model_attributes_type": ("wrong_type", "This must be an object."),
    "none_required": ("wrong_type", "This must be null."),
    "uuid_type": ("wrong_format", "This must be a UUID."),
    "uuid_parsing": ("wrong_format", "This must be a UUID."),
    "uuid_version": ("wrong_format", "This must be a UUID of another version."),
    "datetime_type": ("wrong_format", "This must be a date and time with an offset (RFC 3339)."),
    "datetime_parsing": ("wrong_format", "This must be a date and time with an offset (RFC 3339)."),
    "datetime_from_date_parsing": ("wrong_format", "This must be a date and time with an offset (RFC 3339)."),
    "timezone_aware": ("wrong_format", "This must be a date and time with an offset (RFC 3339)."),
    "ip_any_address": ("wrong_format", "This must be an IP address, such as 203.0.113.7."),
    "url_parsing": ("wrong_format", "This must be a URL."),
    "url_scheme": ("wrong_format", "This URL has a scheme that is not allowed."),
    "url_too_long": ("too_long", "This URL is too long."),
}
_GENERIC = ("invalid", "This value is not valid.")


def field_errors(details: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Translates the entries of `RequestValidationError.errors()`; at most the first 32 of them.

    A `PydanticCustomError` without context keeps its type and its message, which is then a constant of
    ours. Messages of ValueErrors are dropped: they tend to quote the value.
    """
    return [_field_error(detail) for detail in details[:_MAX_FIELDS]]


def _field_error(detail: Mapping[str, Any]) -> FieldError:
    loc = tuple(part if isinstance(part, int) else _cut(str(part)) for part in detail["loc"])
    code, message = _words(detail)
    return FieldError(loc=loc, code=code, message=message)


def _words(detail: Mapping[str, Any]) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx") or {}
    if kind == "value_error" and str(detail.get("msg", "")).startswith("value is not a valid email address"):
        return "invalid_email", "This is not an e-mail address."
    if kind in {"too_short", "too_long"} and context.get("field_type") == "Value":
        # Of secrets pydantic does not know that they are strings.
        kind = f"string_{kind}"
    if kind not in _BUILT_IN and kind not in _TEXTS and not context:
        return kind, str(detail["msg"])
    code, text = _TEXTS.get(kind, _GENERIC)
    try:
        return code, text.format_map({name: context[name] for name in _SCHEMA_CONSTANTS & context.keys()})
    except KeyError:
        return code, _GENERIC[1]


def _cut(part: str) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in part[:_LOC_LENGTH])
    return printable if len(part) <= _LOC_LENGTH else printable + "…"
