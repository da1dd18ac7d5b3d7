"""JSON read strictly, for documents in which two readers must see the same thing."""

import json
from typing import Any, NoReturn


def parse_object(document: bytes) -> dict[str, Any]:
    """The members of a UTF-8 JSON object (RFC 8259 section 4, RFC 7515 section 4).

    Raises ValueError (RecursionError if nested too deeply) for equal names, NaN, Infinity, any number but an
    integer (1e400 would become infinity), other encodings, and anything that is no object.
    """
    # decoded first: given bytes, json would also read UTF-16 and UTF-32
    parsed = _DECODER.decode(document.decode("utf-8"))
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _refuse_number(_text: str) -> NoReturn:
    raise ValueError("not an integer")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_float=_refuse_number, parse_constant=_refuse_number
)
