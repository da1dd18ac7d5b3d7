"""A real SMTP server that can be slow, refuse, hang up, or ask for TLS and a login."""

import asyncio
import logging
import ssl
import subprocess
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_string
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

# Its lines hold whole mails, which tests look for in the log of authapi.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)

USER, PASSWORD = "mailer", "p@ss:word/?"


@dataclass
class SmtpServer:
    """A server on a loopback port and what it has taken; change `mode` at any time.

    Modes: `ok`, `slow` (each mail takes `delay` seconds), `late` (is taken at once, and answered after them),
    `4xx`, `5xx` and `530` (the recipient is refused), `data 5xx` (the content is), `busy` (it is, with 421),
    `hang` (nothing is answered any more).
    """

    port: int = 0
    mode: str = "ok"
    delay: float = 0.2
    accepted: list[Envelope] = field(default_factory=list)
    connections: int = 0
    attempts: int = 0
    logins: list[bool] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    _server: asyncio.Server | None = None
    _open: set[SMTP] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def messages(self) -> list[EmailMessage]:
        """The mails in the order of their arrival."""
        return [parse(envelope) for envelope in self.accepted]

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.get_running_loop().create_server(
            self._make_protocol, "127.0.0.1", self.port, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and cut those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for protocol in list(self._open):
            if isinstance(protocol.transport, asyncio.WriteTransport):
                protocol.transport.abort()
        await asyncio.sleep(0.05)

    async def wait_for(self, count: int, *, seconds: float = 10) -> list[EmailMessage]:
        """The mails, once there are so many."""
        async with asyncio.timeout(seconds):
            while len(self.accepted) < count:  # noqa: ASYNC110 - the tests' loop is the server's
                await asyncio.sleep(0.01)
        return self.messages

    # What aiosmtpd calls; the names are its own.

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.attempts += 1
        match self.mode:
            case "4xx":
                return "450 4.2.0 Try again later"
            case "5xx":
                return f"550 5.1.1 No such mailbox {address}"
            case "530":
                return "530 5.7.0 Authentication required"
            case "busy":
                return "421 4.3.2 Too busy"
            case "hang":
                await asyncio.sleep(3600)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.mode == "slow":
            await asyncio.sleep(self.delay)
        if self.mode == "data 5xx":
            return "554 5.6.0 Content refused"
        self.accepted.append(envelope)
        if self.mode == "late":
            await asyncio.sleep(self.delay)
        return "250 Accepted"

    def _make_protocol(self) -> SMTP:
        self.connections += 1
        options = {"hostname": "mail.example.org", "enable_SMTPUTF8": True, **self.options}
        protocol = _Protocol(self, loop=asyncio.get_running_loop(), **options)
        self._open.add(protocol)
        return protocol

    def forget(self, protocol: SMTP) -> None:
        """Called by a connection that has ended."""
        self._open.discard(protocol)


class _Protocol(SMTP):
    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.event_handler.forget(self)


def parse(envelope: Envelope) -> EmailMessage:
    """A mail as a mail program reads it."""
    content = envelope.content
    assert isinstance(content, bytes)
    return message_from_string(content.decode(), EmailMessage, policy=SMTPUTF8)


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """The text part of a mail, or its HTML part."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@asynccontextmanager
async def smtp_server(**options: Any) -> AsyncIterator[SmtpServer]:
    """A server for the block; `tls=` makes it speak TLS from the start, other options are aiosmtpd's."""
    tls = options.pop("tls", None)
    assert tls is None or isinstance(tls, ssl.SSLContext)
    server = SmtpServer(options=options, tls=tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def check_login(
    server: SMTP, _session: Session, _envelope: Envelope, _method: str, data: object
) -> AuthResult:
    """An authenticator that knows one user."""
    is_right = data == LoginPassword(USER.encode(), PASSWORD.encode())
    server.event_handler.logins.append(is_right)
    return AuthResult(success=is_right, handled=False)


def make_certificate(directory: Path, *, name: str = "127.0.0.1") -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate and a server's context with it; only who trusts the file accepts it."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    kind = "IP" if name[0].isdigit() else "DNS"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=mail", "-addext", f"subjectAltName={kind}:{name}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return certificate, context
