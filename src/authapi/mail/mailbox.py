"""The mails that this process has sent, for whoever develops against authapi."""

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from datetime import datetime

from authapi import clock
from authapi.mail.transport import Envelope

CAPACITY = 200
_LINK = re.compile(r"https?://[^\s<>\"]+")


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail in words; `number` counts up from 1."""

    number: int
    sent_at: datetime
    recipient: str
    subject: str
    text: str
    html: str
    headers: tuple[tuple[str, str], ...]

    @property
    def links(self) -> list[str]:
        """The addresses in the text, in their order."""
        return _LINK.findall(self.text)


class Mailbox:
    """The newest mails, in memory; for one event loop."""

    def __init__(self) -> None:
        self._mails: deque[SentMail] = deque(maxlen=CAPACITY)
        self._count = 0
        self._arrived = asyncio.Event()

    def put(self, envelope: Envelope) -> None:
        """Keep a mail and tell those who wait for it."""
        message = envelope.parse()
        self._count += 1
        self._mails.append(
            SentMail(
                number=self._count,
                sent_at=clock.utc_now(),
                recipient=envelope.recipient,
                subject=str(message["Subject"]),
                text=envelope.read_part("plain"),
                html=envelope.read_part("html"),
                headers=tuple((name, str(value)) for name, value in message.items()),
            )
        )
        # A new one for those who wait from now on.
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    def find(self, number: int) -> SentMail | None:
        """The mail with this number, while it is kept."""
        return next((mail for mail in self._mails if mail.number == number), None)

    def find_all(self, *, to: str | None = None, after: int = 0) -> list[SentMail]:
        """Mails with a higher number than `after`, the newest last; `to` is compared without case."""
        return [
            mail
            for mail in self._mails
            if mail.number > after and (to is None or mail.recipient.casefold() == to.strip().casefold())
        ]

    async def wait(self, *, to: str | None = None, after: int = 0, seconds: float) -> list[SentMail]:
        """What `find_all` finds, as soon as that is anything, or nothing after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := self.find_all(to=to, after=after)):
                    await self._arrived.wait()
                return found
        except TimeoutError:
            return []
