"""Chooses the transport that the settings name."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from authapi.mail.composition import domain_of
from authapi.mail.transport import ConsoleTransport, FileTransport, Transport
from authapi.setting_groups import MailSettings


def open_transport(settings: MailSettings) -> Transport:
    """The transport of `AUTHAPI_MAIL__URL`; nothing is connected yet.

    For a thread: with SMTP it loads a library and the certificates of authorities, for a twentieth of a second.
    """
    parts = urlsplit(settings.url)
    if parts.scheme == "console":
        return ConsoleTransport()
    if parts.scheme == "file":
        return FileTransport(Path(url2pathname(parts.path)))
    from authapi.mail.smtp import SmtpTransport

    return SmtpTransport(
        settings.url, timeout=settings.timeout.total_seconds(), local_hostname=domain_of(settings.sender)
    )
