"""authapi's public keys, fetched once in a while and kept through outages."""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from authapi.security.signing_keys import UnusableKey, VerifyingKey
from authapi.verify.errors import VerificationUnavailable
from authapi.verify.http import Fetcher, FetchFailed

logger = logging.getLogger("authapi.verify")

JWKS_PATH = "/.well-known/jwks.json"
# Tokens with invented key ids must not make this service hammer authapi.
MIN_INTERVAL_SECONDS = 5.0
DEFAULT_MAX_AGE_SECONDS = 300.0
MAX_AGE_BOUNDS = (10.0, 86_400.0)

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})")


class KeyCache:
    """The keys by kid.

    They are fetched again when `Cache-Control: max-age` is over, in the background, and when a token names an
    unknown key; never more often than every five seconds, and by one caller for all. Where authapi cannot be
    reached, keys are used for up to `usable_for` after they were fetched.
    """

    def __init__(self, fetcher: Fetcher, *, usable_for: timedelta) -> None:
        self._fetcher = fetcher
        self._usable_for = usable_for.total_seconds()
        self._keys: dict[str, VerifyingKey] = {}
        self._fetched_at: float | None = None
        self._due_at = 0.0
        self._attempted_at: float | None = None
        self._has_failed = False
        self._task: asyncio.Task[None] | None = None

    async def warm(self) -> None:
        """Try to fetch the keys before the first token needs them."""
        await self._fetch_once()

    async def current(self) -> Mapping[str, VerifyingKey]:
        """The keys at hand; fetched now only if there are none. Raises `VerificationUnavailable`."""
        if not self._is_usable():
            await self._fetch_once()
            if not self._is_usable():
                raise VerificationUnavailable("no keys could be fetched, or they are too old")
        elif time.monotonic() >= self._due_at:
            self._start_fetch()
        return self._keys

    async def renewed(self) -> Mapping[str, VerifyingKey]:
        """The keys after another fetch, unless one was just made; raises `VerificationUnavailable`."""
        await self._fetch_once()
        if self._has_failed:
            raise VerificationUnavailable("the key of this token is unknown and keys could not be fetched")
        return self._keys

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _is_usable(self) -> bool:
        return self._fetched_at is not None and time.monotonic() - self._fetched_at <= self._usable_for

    async def _fetch_once(self) -> None:
        self._start_fetch()
        if self._task is not None:
            # A caller that goes away must not take the fetch away from the others.
            await asyncio.shield(self._task)

    def _start_fetch(self) -> None:
        now = time.monotonic()
        is_running = self._task is not None and not self._task.done()
        if is_running or (self._attempted_at is not None and now - self._attempted_at < MIN_INTERVAL_SECONDS):
            return
        self._attempted_at = now
        self._task = asyncio.create_task(self._fetch(), name="authapi-keys")

    async def _fetch(self) -> None:
        try:
            answer = await self._fetcher.get(JWKS_PATH)
            if answer.status != 200:
                raise FetchFailed(f"status {answer.status}")
            keys = _read_keys(answer.document)
        except FetchFailed as error:
            self._has_failed = True
            logger.warning("the keys of authapi could not be fetched: %s", error)
            return
        self._has_failed = False
        self._keys = keys
        self._fetched_at = time.monotonic()
        self._due_at = self._fetched_at + _max_age(answer.headers.get("cache-control", ""))


def _read_keys(document: Mapping[str, Any]) -> dict[str, VerifyingKey]:
    """The keys of a JWK Set (RFC 7517 section 5); those of kinds that are not known here are left out."""
    jwks = document.get("keys")
    if not isinstance(jwks, list):
        raise FetchFailed("not a JWK Set")
    keys: dict[str, VerifyingKey] = {}
    for jwk in jwks:
        try:
            key = VerifyingKey.from_public_jwk(jwk)
        except UnusableKey:
            continue
        keys[key.kid] = key
    return keys


def _max_age(cache_control: str) -> float:
    found = _MAX_AGE.search(cache_control.lower())
    lowest, highest = MAX_AGE_BOUNDS
    return min(highest, max(lowest, float(found[1]))) if found else DEFAULT_MAX_AGE_SECONDS
