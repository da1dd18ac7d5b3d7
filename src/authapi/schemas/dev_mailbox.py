"""Mails as the mailbox of development shows them."""

from datetime import datetime

from authapi.schemas.envelope import ResponseModel


class SentMailResponse(ResponseModel):
    """One mail; ask for the next ones with `after` set to its `number`."""

    number: int
    sent_at: datetime
    recipient: str
    subject: str
    text: str
    html: str
    links: list[str]
    headers: list[tuple[str, str]]
