"""The `scope` parameter (RFC 6749 section 3.3)."""

from authapi import errors
from authapi.security.access_tokens import SCOPE


def parse_scope(text: str) -> tuple[str, ...] | None:
    """The values of a `scope` parameter, each once; None for an empty one, which counts as left out.

    Raises `InvalidScope` for anything but visible ASCII characters between single spaces.
    """
    if not text:
        return None
    if not SCOPE.fullmatch(text):
        raise errors.InvalidScope("malformed")
    return tuple(dict.fromkeys(text.split(" ")))
