"""Keeps this process's signing keys up to date and makes the ones that are due."""

import asyncio

import structlog

from authapi import clock
from authapi.background import finish, happens_within
from authapi.runtime import Runtime
from authapi.services.key_rotation import find_due_key, find_ends, settle
from authapi.services.signing_keys import generate_key, load_keys

# A key is published for ten minutes before it signs, so a process may miss many rounds unharmed.
RELOAD_SECONDS = 30.0
RETRY_SECONDS = 5.0
TIMEOUT_SECONDS = 10.0

logger = structlog.stdlib.get_logger("authapi.signing_keys")


class KeyKeeper:
    """Reloads the keys every thirty seconds.

    Keys begin and end by the clock within the token authority. What takes up to thirty seconds to reach every
    process is an unforeseen change: the replacement of compromised keys.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._since = clock.utc_now()
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Load the keys, the first one made if need be, then keep them up to date.

        Raises `InvalidSettings` as `load_keys` does, and what the database raises.
        """
        await self.reload()
        self._task = asyncio.create_task(self._keep(), name="key-keeper")

    async def stop(self) -> None:
        """End the task."""
        self._stopping.set()
        await finish(self._task)

    async def reload(self) -> None:
        """Read the keys; make the one that is due and read again. Reading alone needs no write lock."""
        if not await self._load():
            return
        fresh = await generate_key(self._runtime)
        async with asyncio.timeout(TIMEOUT_SECONDS), self._runtime.database.unit_of_work() as db:
            await settle(db, self._runtime, fresh=fresh, since=self._since)
        await self._load()

    async def _load(self) -> bool:
        """Load the keys; tells whether something is due."""
        runtime = self._runtime
        async with asyncio.timeout(TIMEOUT_SECONDS), runtime.database.reading() as db:
            rows = await load_keys(db, runtime)
        if find_due_key(runtime, rows, since=self._since) is not None:
            return True
        return bool(find_ends(runtime, rows, since=self._since))

    async def _keep(self) -> None:
        is_up_to_date = True
        while not await happens_within(self._stopping, RELOAD_SECONDS if is_up_to_date else RETRY_SECONDS):
            try:
                await self.reload()
            except Exception as error:
                # Whatever it is, the next round tries again; the keys in memory serve on by the clock.
                if is_up_to_date:
                    logger.error("signing_keys.reload_failed", error=type(error).__name__)
                is_up_to_date = False
            else:
                if not is_up_to_date:
                    logger.info("signing_keys.reloaded_again")
                is_up_to_date = True
