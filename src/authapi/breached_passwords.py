"""Whether a password is known from a breach: asked of a range API, or looked up in a local file. Off by default.

The API learns the first five of forty digits of a digest, and padding hides even how many matches there were
(k-anonymity). It is a courtesy, not a gate: when it does not answer in a second, the password passes (ASVS
6.2.12). The file is a sorted list of SHA-1 digests or prefixes of them in hex, one a line, as breach corpora
are published; what follows a colon is ignored.
"""

import asyncio
import hashlib
import mmap
from collections.abc import Awaitable
from pathlib import Path

import structlog

from authapi.setting_groups import PasswordSettings

TIMEOUT_SECONDS = 1.0
PREFIX_DIGITS = 5
# Shorter prefixes would refuse passwords at random.
MIN_LINE_DIGITS = 10
MAX_RESPONSE_BYTES = 256 * 1024

logger = structlog.stdlib.get_logger("authapi.breached_passwords")


class BreachedPasswords:
    """The configured sources; without any, every password passes at once."""

    def __init__(self, settings: PasswordSettings) -> None:
        self._url = settings.breach_url
        self._file = settings.breach_file

    async def contains(self, password: str) -> bool:
        """Whether one of the sources knows the password; a source that fails knows nothing."""
        digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        if self._file is not None and await _ask(asyncio.to_thread(_is_in_file, self._file, digest)):
            return True
        return self._url is not None and await _ask(_is_in_range(self._url, digest))


async def _ask(source: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await source
    except (TimeoutError, OSError, ValueError) as error:
        logger.warning("breached_passwords.unavailable", error=type(error).__name__)
        return False


async def _is_in_range(url: str, digest: str) -> bool:
    # Here, because few installations ask and every start would take longer.
    import httpx

    prefix, suffix = digest[:PREFIX_DIGITS], digest[PREFIX_DIGITS:]
    # No redirects: the address is the operator's choice, not the server's.
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
            response = await client.get(f"{url.rstrip('/')}/{prefix}", headers={"Add-Padding": "true"})
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise OSError(type(error).__name__) from error
    if len(response.content) > MAX_RESPONSE_BYTES:
        raise ValueError("an answer of this size is no range")
    for line in response.text.splitlines():
        candidate, _, count = line.partition(":")
        # Padding has a count of 0.
        if candidate.strip().upper() == suffix and count.strip() != "0":
            return True
    return False


def _is_in_file(path: Path, digest: str) -> bool:
    """Search a sorted file of any size by halves; a line matches if the digest begins with it."""
    wanted = digest.encode()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        low, high = 0, len(content)
        while low < high:
            middle = (low + high) // 2
            start = content.rfind(b"\n", 0, middle) + 1
            end = content.find(b"\n", middle)
            end = len(content) if end == -1 else end
            line = content[start:end].partition(b":")[0].strip().upper()
            if len(line) >= MIN_LINE_DIGITS and wanted.startswith(line):
                return True
            if line < wanted:
                low = end + 1
            else:
                high = start
    return False
