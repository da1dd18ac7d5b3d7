"""Base64url without padding, in exactly one spelling per value (RFC 7515 section 2, RFC 4648 section 3.5)."""

import base64


def encode(raw: bytes) -> str:
    """The unpadded base64url text of `raw`."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of unpadded base64url `text`.

    Raises ValueError for every text but the one `encode` would give: Python's decoder skips foreign
    characters and ignores the unused bits of the last one, so that a token would have many spellings.
    """
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(raw) != text:
        raise ValueError("not canonical base64url")
    return raw
