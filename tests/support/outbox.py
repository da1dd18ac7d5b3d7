"""The outbox of a process, and its delivery, for tests."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import MailKind, MailState
from authapi.models import MailMessage
from authapi.runtime import Runtime
from authapi.services import mail_links, mail_outbox
from authapi.services.mail_delivery import MailDelivery

TOKEN = "authapi_ott_wmdL1f3XhqEYbFVbQeXn0yT7u2mS"


class Outbox:
    """Enqueues as a use case does, and looks at the rows."""

    def __init__(self, runtime: Runtime, deliveries: list[MailDelivery]) -> None:
        self.runtime = runtime
        self._deliveries = deliveries

    async def enqueue(
        self, to: str = "Ada@example.com", *, kind: MailKind = MailKind.RESET_PASSWORD, **context: object
    ) -> bool:
        """Write a mail with a live link, in a transaction of its own."""
        async with self.runtime.database.unit_of_work() as db:
            return await self.write(db, to, kind=kind, **context)

    async def write(
        self,
        db: AsyncSession,
        to: str = "Ada@example.com",
        *,
        kind: MailKind = MailKind.RESET_PASSWORD,
        **context: object,
    ) -> bool:
        """The same in a transaction of the caller's."""
        return await mail_outbox.enqueue(
            db,
            self.runtime,
            kind=kind,
            to=to,
            recipient_canonical=to.lower(),
            locale="en",
            user_id=None,
            context={
                "full_name": "Ada Lovelace",
                "link": mail_links.link(self.runtime, mail_links.RESET_PASSWORD, token=TOKEN),
                "lifetime": timedelta(minutes=30),
                "when": clock.utc_now(),
                "ip": "203.0.113.7",
                "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
                "new_email": "new@example.com",
                **context,
            },
        )

    async def deliver(self) -> MailDelivery:
        """Start a delivery; it ends with the test."""
        delivery = MailDelivery(self.runtime)
        self._deliveries.append(delivery)
        await delivery.start()
        return delivery

    async def rows(self) -> Sequence[MailMessage]:
        """Every mail, the oldest first."""
        async with self.runtime.database.reading() as db:
            return (await db.scalars(select(MailMessage).order_by(MailMessage.id))).all()

    async def row(self) -> MailMessage:
        """The only mail."""
        (row,) = await self.rows()
        return row

    async def change(self, **values: object) -> None:
        """Give every row these values."""
        async with self.runtime.database.unit_of_work() as db:
            await db.execute(update(MailMessage).values(**values))

    async def wait_for(
        self, state: MailState, *, last_error: bool = False, seconds: float = 10
    ) -> MailMessage:
        """The first mail in this state (and with an error), as soon as there is one."""
        async with asyncio.timeout(seconds):
            while True:
                for row in await self.rows():
                    if row.state == state and bool(row.last_error) >= last_error:
                        return row
                await asyncio.sleep(0.02)
