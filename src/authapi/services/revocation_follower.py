"""Keeps this process's revocation set up to date by reading on in the table, several times a second."""

import asyncio
import time

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from authapi import clock
from authapi.background import finish, happens_within
from authapi.database import Database
from authapi.repositories import revocations
from authapi.repositories.revocations import RevocationPage
from authapi.revocation_set import RevocationSet
from authapi.runtime import Runtime

# What was revoked on another host is refused here after this, plus the time of one query.
POLL_SECONDS = 0.25
READ_TIMEOUT_SECONDS = 2.0

logger = structlog.stdlib.get_logger("authapi.revocations")


class RevocationFollower:
    """Follows the revocations over a connection of its own, so that it works while the pool is exhausted."""

    def __init__(self, runtime: Runtime) -> None:
        self._set: RevocationSet = runtime.revocations
        self._database = Database.of(runtime.settings, pool_size=1)
        # Kept between reads: opening a connection takes longer than the query. None while a read is using it.
        self._connection: AsyncConnection | None = None
        self._position = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read all revocations that still matter, then follow; raises what the database raises."""
        await self.read_on()
        self._task = asyncio.create_task(self._follow(), name="revocation-follower")

    async def stop(self) -> None:
        """End the task and close the connection."""
        self._stopping.set()
        await finish(self._task)
        if self._connection is not None:
            await self._connection.close()
        await self._database.close()

    async def read_on(self) -> None:
        """Take over what was committed since the last call."""
        read_at = time.monotonic()
        is_kept = self._connection is not None
        async with asyncio.timeout(READ_TIMEOUT_SECONDS):
            try:
                page = await self._read()
            except Exception:
                # The server may have closed the kept connection since the last read: try once with a new one.
                if not is_kept:
                    raise
                page = await self._read()
        for row in page.revocations:
            if row.user_session_id is not None:
                self._set.add_session(row.user_session_id, expires_at=row.expires_at)
            if row.subject is not None and row.not_before is not None:
                self._set.add_subject(row.subject, not_before=row.not_before, expires_at=row.expires_at)
        self._position = page.position
        self._set.confirm(read_at=read_at)

    async def _read(self) -> RevocationPage:
        connection, self._connection = self._connection or await self._database.connect(), None
        try:
            async with connection.begin():
                page = await revocations.read_on(connection, position=self._position, now=clock.utc_now())
                if page.position < self._position:
                    # A failover to another server, or purged rows: new rows may have lower numbers, so read all.
                    page = await revocations.read_on(connection, position=0, now=clock.utc_now())
        except BaseException:
            # It may be the connection that failed, or it is in the middle of an answer.
            try:
                await connection.invalidate()
            finally:
                await connection.close()
            raise
        self._connection = connection
        return page

    async def _follow(self) -> None:
        is_following = True
        while not await happens_within(self._stopping, POLL_SECONDS):
            try:
                await self.read_on()
            except Exception as error:
                # Whatever it is, the next round tries again; meanwhile the set grows stale and then refuses.
                if is_following:
                    logger.error("revocations.lost", error=type(error).__name__)
                is_following = False
            else:
                if not is_following:
                    logger.info("revocations.followed_again")
                is_following = True
