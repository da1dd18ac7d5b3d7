"""The style sheet of all pages."""

import hashlib
from functools import cache
from importlib.resources import files

STYLESHEET_PATH = "/pages/pages.css"


@cache
def stylesheet() -> tuple[bytes, str]:
    """The style sheet, and a digest by which pages ask for it."""
    content = (files("authapi") / "pages" / "pages.css").read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]
