"""Mails as their recipients get them: the links in them, and what was written to whom."""

import asyncio
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from fastapi import FastAPI
from sqlalchemy import select

from authapi.mail.mailbox import Mailbox, SentMail
from authapi.models import MailMessage
from authapi.runtime import Runtime

WAIT_SECONDS = 10.0


def new_address() -> str:
    """An address of this test alone: mailboxes are kept from test to test."""
    return f"{uuid4().hex[:12]}@example.com"


def token_of(link: str) -> str:
    """The token that a link carries."""
    (token,) = parse_qs(urlsplit(link).query)["token"]
    return token


class Mails:
    """What the applications on a database have sent; any of them may have sent a mail of the others."""

    def __init__(self, *apps: FastAPI) -> None:
        self._mailboxes: list[Mailbox] = [app.state.mailbox for app in apps]
        self._runtime: Runtime = apps[0].state.runtime

    async def all(self, to: str, *, count: int) -> list[SentMail]:
        """So many mails to an address, the oldest first, once they have left."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                found = [mail for mailbox in self._mailboxes for mail in mailbox.find_all(to=to)]
                if len(found) >= count:
                    # Their ids tell in which order they were written; several senders carry them away.
                    return sorted(found, key=lambda mail: dict(mail.headers)["Message-ID"])
                await asyncio.sleep(0.02)

    async def link(self, to: str, page: str, *, count: int = 1) -> str:
        """The link to a page in the newest of so many mails that have one."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                links = [link for mail in await self.all(to, count=1) for link in mail.links]
                links = [link for link in links if urlsplit(link).path == page]
                if len(links) >= count:
                    return links[-1]
                await asyncio.sleep(0.02)

    async def token(self, to: str, page: str, *, count: int = 1) -> str:
        """The token of that link."""
        return token_of(await self.link(to, page, count=count))

    async def written_to(self, recipient: str) -> list[str]:
        """The kinds of the mails to an address, the oldest first, sent or not."""
        async with self._runtime.database.reading() as db:
            rows = await db.scalars(
                select(MailMessage.kind).where(MailMessage.recipient == recipient).order_by(MailMessage.id)
            )
            return list(rows)
