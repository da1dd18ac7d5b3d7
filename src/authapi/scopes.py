"""The grammar of scopes (RFC 6749 section 3.3)."""

import re

from authapi import errors

_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")


def parse_scope(text: str) -> tuple[str, ...] | None:
    """The values of a `scope` parameter, each once; None for an empty one, which counts as left out.

    Raises `InvalidScope` for anything but visible ASCII characters between single spaces.
    """
    if not text:
        return None
    if not _SCOPE.fullmatch(text):
        raise errors.InvalidScope("malformed")
    return tuple(dict.fromkeys(text.split(" ")))
