"""Fetches JSON from authapi: one host, no redirects, bounded in time and size.

The only import of httpx in this package.
"""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote_plus, urlsplit

import httpx

from authapi.security import strict_json

TIMEOUT_SECONDS = 2.0
MAX_BYTES = 16 * 1024 * 1024


class FetchFailed(Exception):
    """No usable answer; the message names the kind of trouble and holds nothing that was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: `document` is the JSON object of a 200, empty otherwise; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    document: dict[str, Any]


class Fetcher:
    """An HTTP client for one authapi; `base_url` as `checked_base_url` returns it."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Make the connection pool, on the loop that will use it."""
        # A redirect could lead to another host, which would then choose the keys (ASVS 1.3.6).
        self._client = httpx.AsyncClient(base_url=self._base_url, follow_redirects=False, timeout=60)

    async def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0,
    ) -> Answer:
        """GET a JSON object; `wait` is how many seconds the server may take on purpose.

        Raises `FetchFailed`; RuntimeError before `open`.
        """
        if self._client is None:
            raise RuntimeError("not started: use the verifier with 'async with', or its lifespan")
        try:
            # One bound for everything: httpx's own timeouts start anew with each byte.
            async with (
                asyncio.timeout(TIMEOUT_SECONDS + wait),
                self._client.stream("GET", path, params=params, headers=headers) as response,
            ):
                body = await _read_bounded(response)
            document = strict_json.parse_object(body) if response.status_code == httpx.codes.OK else {}
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError) as error:
            raise FetchFailed(type(error).__name__) from None
        return Answer(response.status_code, response.headers, document)


def basic_authorization(client_id: str, client_secret: str) -> str:
    """The header value of client authentication (RFC 6749 section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def checked_base_url(url: str, *, allow_plain_http: bool) -> str:
    """The URL without a trailing slash.

    Raises ValueError for anything but an https origin (a path is allowed): over plain http whoever sits in
    between chooses the keys. Loopback is exempt, and everything with `allow_plain_http`.
    """
    parts = urlsplit(url)
    is_private = allow_plain_http or _is_loopback(parts.hostname or "")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_private):
        raise ValueError(f"{url!r} must be an https URL; within a closed network pass allow_plain_http=True")
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{url!r} must be a plain URL such as https://auth.example.com")
    return url.rstrip("/")


async def _read_bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ValueError("the answer is too long")
    return bytes(body)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
