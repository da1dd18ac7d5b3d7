"""Mail by SMTP (RFC 5321): plain, with STARTTLS that is required, or with TLS from the start."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import unquote, urlsplit

import aiosmtplib

from authapi.mail.transport import Connection, DeliveryFailed, Envelope, Transport

QUIT_SECONDS = 1.0
# The server wants us to log in, or in another way: the operator can mend that.
_AUTHENTICATION_REQUIRED = 530

_Failures = (aiosmtplib.SMTPException, OSError, TimeoutError)


class SmtpTransport(Transport):
    """Connects to the server of an `smtp://`, `smtp+starttls://` or `smtps://` URL.

    Both forms of TLS verify the certificate against the system's authorities, or those of `SSL_CERT_FILE`,
    and never fall back to plain text (ASVS 12.3.1, 12.3.2). `timeout` is in seconds, for each answer of the
    server; `local_hostname` is how we greet it.
    """

    def __init__(self, url: str, *, timeout: float, local_hostname: str) -> None:
        parts = urlsplit(url)
        self._options = {
            "hostname": parts.hostname,
            "port": parts.port,
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": parts.scheme == "smtps",
            # Not None, which means "if the server offers it": an attacker on the network could remove the offer.
            "start_tls": parts.scheme == "smtp+starttls",
            "tls_context": None if parts.scheme == "smtp" else ssl.create_default_context(),
            # The default asks the DNS, in a thread.
            "local_hostname": local_hostname,
            "timeout": timeout,
        }
        self._timeout = timeout

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Connect, secure the connection and log in as the URL says."""
        client = aiosmtplib.SMTP(**self._options)  # type: ignore[arg-type]
        try:
            await client.connect()
        except _Failures as error:
            raise DeliveryFailed(_describe(error), is_connection_lost=True) from None
        try:
            yield SmtpConnection(client)
        finally:
            with suppress(*_Failures):
                await client.quit(timeout=min(QUIT_SECONDS, self._timeout))
            client.close()


class SmtpConnection(Connection):
    """An open connection to an SMTP server."""

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        self._client = client

    async def send(self, envelope: Envelope) -> None:
        """Send to one recipient; refused with 5xx it is refused for good, anything else may pass."""
        try:
            options = await self._options_for(envelope.recipient)
            await self._client.sendmail(
                envelope.sender, [envelope.recipient], envelope.message, mail_options=options
            )
        except (aiosmtplib.SMTPNotSupported, ValueError) as error:
            raise DeliveryFailed(type(error).__name__, is_permanent=True) from None
        except _Failures as error:
            raise DeliveryFailed(
                _describe(error),
                is_permanent=_is_permanent(error),
                is_connection_lost=not self._client.is_connected,
            ) from None

    async def _options_for(self, recipient: str) -> list[str]:
        if recipient.isascii():
            return []
        if self._client.is_ehlo_or_helo_needed:
            await self._client.ehlo()
        if not self._client.supports_extension("smtputf8"):
            raise aiosmtplib.SMTPNotSupported("SMTPUTF8")
        return ["SMTPUTF8", "BODY=8BITMIME"]


def _code(error: BaseException) -> int | None:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        error = error.recipients[0]
    return error.code if isinstance(error, aiosmtplib.SMTPResponseException) else None


def _is_permanent(error: BaseException) -> bool:
    # A refused sender, login or greeting concerns every mail: that is for the operator to mend.
    if not isinstance(error, aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPDataError):
        return False
    code = _code(error) or 0
    return 500 <= code < 600 and code != _AUTHENTICATION_REQUIRED


def _describe(error: BaseException) -> str:
    """Name and code; a server's text may quote the address."""
    cause = error.__cause__
    if isinstance(error, aiosmtplib.SMTPConnectError) and isinstance(cause, OSError):
        error = cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{type(error).__name__}: {error.verify_message}"
    code = _code(error)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
