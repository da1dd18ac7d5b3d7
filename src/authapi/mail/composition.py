"""Puts a rendered mail into its form on the wire (RFC 5322, 2045): headers, a text part, an HTML part."""

from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from uuid import UUID

from authapi.enums import MailKind

# RFC 5322 section 2.1.1 allows 998; beyond, a part is encoded.
_MAX_LINE = 900


def compose(
    kind: MailKind,
    *,
    sender: str,
    to: str,
    locale: str,
    base_url: str,
    message_id: str,
    date: datetime,
    context: Mapping[str, object],
) -> bytes:
    """A whole mail with CRLF line ends, 7-bit clean unless the recipient's address is not ASCII.

    The domain of `to` is in its ASCII form. Headers hold nothing else that a user chose, and the library
    refuses line breaks in them (ASVS 1.3.11). Raises `KeyError` for an incomplete context and
    `ValueError` for an address that is none.
    """
    # Late: see authapi.templates.
    from authapi.mail.rendering import render

    name = parseaddr(sender)[0]
    rendered = render(
        kind, locale=locale, service=name or domain_of(sender), base_url=base_url, context=context
    )
    local, _, domain = to.rpartition("@")
    policy = SMTP if local.isascii() else SMTPUTF8
    message = EmailMessage(policy.clone(cte_type="7bit"))
    message["From"] = Address(name, addr_spec=address_of(sender))
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(date)
    message["Message-ID"] = message_id
    # No vacation notice comes back (RFC 3834 section 5).
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(rendered.text, cte=_encoding(rendered.text))
    message.add_alternative(rendered.html, subtype="html", cte=_encoding(rendered.html))
    # Last: making it multipart moves the Content-* headers into the first part.
    message["Content-Language"] = rendered.locale.value
    return message.as_bytes()


def make_message_id(mail_id: UUID, *, sender: str) -> str:
    """The Message-ID of a mail: stable, so that a mail that is sent twice can be recognised."""
    return f"<{mail_id}@{domain_of(sender)}>"


def domain_of(address: str) -> str:
    """The domain of an address, with or without a display name."""
    return address_of(address).rpartition("@")[2]


def address_of(address: str) -> str:
    """An address without its display name."""
    return parseaddr(address)[1]


def _encoding(text: str) -> str | None:
    """Plain where that is possible: a link stays whole for whoever reads the raw mail."""
    if text.isascii() and all(len(line) <= _MAX_LINE for line in text.splitlines()):
        return "7bit"
    return None
