"""Carries the outbox to the mail server, at least once each, however long that server is away."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import cast

import structlog

from authapi import clock
from authapi.background import finish, happens_within
from authapi.enums import MailState
from authapi.mail.opening import open_transport
from authapi.mail.transport import Connection, DeliveryFailed, Envelope, Transport
from authapi.models import MailMessage
from authapi.repositories import mail_messages
from authapi.runtime import Runtime
from authapi.security.sealing import SealBroken
from authapi.services.mail_outbox import sealer, unseal

# Mails of other processes, and those whose next attempt is due, are found after this.
POLL_SECONDS = 1.0
# Each sends one mail after the other, over a connection of its own.
SENDERS = 4
# Longer than an attempt may take: until then nobody else sends a mail, even if its sender was killed.
CLAIM_SECONDS = 60.0
MAX_BACKOFF_SECONDS = 300.0
STOP_SECONDS = 3.0

logger = structlog.stdlib.get_logger("authapi.mail")

Watcher = Callable[[Envelope], None]


class MailDelivery:
    """Sends what is in the outbox; every worker of every host may run one.

    `on_sent` sees each mail that has left.
    """

    def __init__(self, runtime: Runtime, *, on_sent: Watcher | None = None) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._transport: Transport | None = None
        self._on_sent = on_sent
        self._sealer = sealer(runtime)
        # An attempt has several answers of the server to wait for.
        self._attempt_seconds = min(3 * runtime.settings.mail.timeout.total_seconds(), CLAIM_SECONDS / 2)
        self._senders: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._is_working = True

    async def start(self) -> None:
        """Try at once what waits since an earlier start, then follow; raises what the database raises."""
        self._is_stopping = False
        async with self._database.unit_of_work() as db:
            await mail_messages.hurry(db, now=clock.utc_now())
        self._task = asyncio.create_task(self._follow(), name="mail-delivery")

    async def stop(self) -> None:
        """Let the mails under way arrive, for some seconds; the others stay in the outbox."""
        self._is_stopping = True
        self._runtime.mail_wakeup.set()
        await finish(self._task)
        if self._senders:
            _, late = await asyncio.wait(self._senders, timeout=STOP_SECONDS)
            for sender in late:
                sender.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _follow(self) -> None:
        wakeup = self._runtime.mail_wakeup
        is_reading = True
        while True:
            # Cleared before looking: a mail that is committed meanwhile sets it again.
            wakeup.clear()
            if self._is_stopping:
                return
            try:
                await self._start_senders()
            except Exception as error:
                # Whatever it is, the next round tries again.
                if is_reading:
                    logger.error("mail.outbox_lost", error=type(error).__name__)
                is_reading = False
            else:
                is_reading = True
            await happens_within(wakeup, POLL_SECONDS)

    async def _start_senders(self) -> None:
        # SQLite has one writer at a time; several senders would only stand in each other's way.
        idle = (1 if self._database.is_sqlite else SENDERS) - len(self._senders)
        if not idle:
            return
        # Looking alone needs no write lock, which SQLite has only one of.
        async with self._database.reading(in_transaction=False) as db:
            due = await mail_messages.count_due(db, now=clock.utc_now(), limit=idle)
        if not due:
            return
        if self._transport is None:
            # Opened for the first mail and not at the start, which loading its libraries would slow down.
            self._transport = await asyncio.to_thread(open_transport, self._runtime.settings.mail)
        transport = self._transport
        for _ in range(due):
            sender = asyncio.create_task(self._send_all(transport), name="mail-sender")
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)

    async def _send_all(self, transport: Transport) -> None:
        """Send until nothing is due; connects for the first mail, and again once the connection is lost."""
        try:
            async with AsyncExitStack() as stack:
                connection: Connection | None = None
                while not self._is_stopping and (mail := await self._claim()):
                    try:
                        envelope = self._open(mail)
                        async with asyncio.timeout(self._attempt_seconds):
                            if connection is None:
                                connection = await stack.enter_async_context(transport.connect())
                            await connection.send(envelope)
                    except Exception as error:
                        failure = _as_failure(error)
                        await self._record_failure(mail, failure)
                        if failure.is_connection_lost:
                            return
                    else:
                        await self._record_success(mail, envelope)
        except Exception as error:
            # The database is away; the mail is tried again once its claim has ended.
            logger.error("mail.sender_failed", error=type(error).__name__)
            return
        # A mail committed after the last `_claim` started no sender, because this one still counted as busy: look
        # once more.
        self._senders.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        self._runtime.mail_wakeup.set()

    async def _claim(self) -> MailMessage | None:
        now = clock.utc_now()
        async with self._database.unit_of_work() as db:
            return await mail_messages.claim(db, now=now, until=now + timedelta(seconds=CLAIM_SECONDS))

    def _open(self, mail: MailMessage) -> Envelope:
        try:
            return unseal(self._sealer, mail, sender=self._runtime.settings.mail.sender)
        except SealBroken:
            # A secret key that is no longer configured; once it is again, the mail can be retried.
            raise DeliveryFailed("SealBroken", is_permanent=True) from None

    async def _record_success(self, mail: MailMessage, envelope: Envelope) -> None:
        await self._mark_sent(mail)
        self._runtime.observer.mail_sent()
        if not self._is_working:
            logger.info("mail.works_again")
        self._is_working = True
        logger.info("mail.sent", mail_id=str(mail.id), kind=mail.kind, attempts=mail.attempts)
        if self._on_sent is not None:
            self._on_sent(envelope)

    async def _mark_sent(self, mail: MailMessage) -> None:
        """Retry while this process owns the mail: one that is not marked as sent would be sent again."""
        deadline = time.monotonic() + CLAIM_SECONDS / 2
        while True:
            try:
                async with self._database.unit_of_work() as db:
                    return await mail_messages.mark_sent(db, id=mail.id, now=clock.utc_now())
            except Exception:
                if self._is_stopping or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_SECONDS)

    async def _record_failure(self, mail: MailMessage, failure: DeliveryFailed) -> None:
        now = clock.utc_now()
        is_dead = failure.is_permanent or now >= mail.give_up_at
        async with self._database.unit_of_work() as db:
            await mail_messages.mark_failed(
                db,
                id=mail.id,
                claimed_until=mail.claimed_until,
                state=MailState.DEAD if is_dead else MailState.PENDING,
                next_attempt_at=now + backoff(mail.attempts),
                last_error=failure.reason[:200],
                now=now,
            )
        if is_dead:
            logger.error("mail.dead", mail_id=str(mail.id), kind=mail.kind, error=failure.reason)
        elif self._is_working:
            # Once, not for each of the thousand mails that wait.
            self._is_working = False
            logger.warning("mail.failing", mail_id=str(mail.id), kind=mail.kind, error=failure.reason)


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many attempts: 1, 2, 4 … seconds, five minutes at most."""
    return timedelta(seconds=min(2.0 ** min(attempts - 1, 16), MAX_BACKOFF_SECONDS))


def _as_failure(error: Exception) -> DeliveryFailed:
    if isinstance(error, DeliveryFailed):
        return error
    # Of a connection in an unknown state nothing more is expected.
    return DeliveryFailed(type(error).__name__, is_connection_lost=True)
