"""Follows authapi's revocations, so that a logout there is a 401 here within a second."""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from authapi.revocation_set import RevocationSet
from authapi.verify.http import Fetcher, FetchFailed

logger = logging.getLogger("authapi.verify")

FEED_PATH = "/api/auth/revocations"
# Between two requests, if the server does not hold them back by itself.
PAUSE_SECONDS = 0.2
RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 2.0


class FeedFollower:
    """Keeps a `RevocationSet` up to date by asking on and on; `wait` is how long the server may hold back."""

    def __init__(
        self, fetcher: Fetcher, revocations: RevocationSet, *, authorization: str, wait: float
    ) -> None:
        self._fetcher = fetcher
        self._revocations = revocations
        self._authorization = authorization
        self._wait = wait
        self._cursor: str | None = None
        self._tag: str | None = None
        self._is_following = True
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Try once to read what still matters, then follow; a failure now is only the first of retries."""
        await self._try_to_read(wait=0)
        self._task = asyncio.create_task(self._follow(), name="authapi-revocations")

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        retry = RETRY_SECONDS
        while True:
            if await self._try_to_read(wait=self._wait):
                retry = RETRY_SECONDS
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                await asyncio.sleep(retry)
                retry = min(2 * retry, MAX_RETRY_SECONDS)

    async def _try_to_read(self, *, wait: float) -> bool:
        try:
            await self._read(wait)
        except Exception as error:
            # Whatever it is, the next round tries again; meanwhile the set grows stale and then refuses.
            if self._is_following:
                logger.error("the revocations of authapi cannot be followed: %s", _describe(error))
            self._is_following = False
            return False
        if not self._is_following:
            logger.info("the revocations of authapi are followed again")
        self._is_following = True
        return True

    async def _read(self, wait: float) -> None:
        # What was committed before the request was sent is in the answer; later may be, too.
        read_at = time.monotonic()
        params = {"wait": f"{wait:g}"} | ({"since": self._cursor} if self._cursor else {})
        headers = {"Authorization": self._authorization} | ({"If-None-Match": self._tag} if self._tag else {})
        answer = await self._fetcher.get(FEED_PATH, params=params, headers=headers, wait=wait)
        if answer.status == 422:
            # A cursor of another database or of a lost secret key: start over.
            self._cursor = self._tag = None
        if answer.status not in {200, 304}:
            raise FetchFailed(f"status {answer.status}")
        if answer.status == 200:
            page = answer.document["data"]
            for entry in page["revocations"]:
                self._take_over(entry)
            self._cursor, self._tag = page["cursor"], answer.headers.get("etag")
        self._revocations.confirm(read_at=read_at)

    def _take_over(self, entry: Mapping[str, Any]) -> None:
        expires_at = datetime.fromisoformat(entry["expires_at"])
        if "session_id" in entry:
            self._revocations.add_session(UUID(entry["session_id"]), expires_at=expires_at)
        else:
            not_before = datetime.fromisoformat(entry["not_before"])
            self._revocations.add_subject(entry["subject"], not_before=not_before, expires_at=expires_at)


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, FetchFailed) else type(error).__name__
