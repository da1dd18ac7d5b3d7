"""The ways a mail leaves: SMTP, a directory, or the console; and what a failure means for the next try."""

import asyncio
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from email import message_from_string
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Envelope:
    """A mail and where it goes; `id` is unique and fit for a file name."""

    id: str
    sender: str
    recipient: str
    message: bytes

    def parse(self) -> EmailMessage:
        """The mail in a form that can be read."""
        # From text: of bytes, the library would not decode an address that is not ASCII.
        return message_from_string(self.message.decode(), EmailMessage, policy=SMTPUTF8)

    def read_part(self, kind: str) -> str:
        """The `plain` or `html` part, with the line ends of a text file; empty if there is none."""
        part = self.parse().get_body((kind,))
        return str(part.get_content()).replace("\r\n", "\n") if part else ""


class DeliveryFailed(Exception):
    """A mail did not leave; `reason` is a name or a code and quotes nothing of the mail.

    `is_permanent`: this recipient or this content is refused, so that trying again is of no use.
    `is_connection_lost`: the next mail needs another connection.
    """

    def __init__(self, reason: str, *, is_permanent: bool = False, is_connection_lost: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_permanent = is_permanent
        self.is_connection_lost = is_connection_lost


class Connection(ABC):
    """Carries one mail after the other."""

    @abstractmethod
    async def send(self, envelope: Envelope) -> None:
        """Hand a mail over: when this returns, the other side answers for it. Raises `DeliveryFailed`."""


class Transport(ABC):
    """Opens connections; several may be open at a time."""

    @abstractmethod
    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for the block; entering it raises `DeliveryFailed`."""


class FileTransport(Transport, Connection):
    """Writes each mail as `<id>.eml` into a directory, for nobody else to read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        yield self

    async def send(self, envelope: Envelope) -> None:
        """Write the file; whoever watches the directory never sees half of one."""
        try:
            await asyncio.to_thread(self._write, envelope)
        except OSError as error:
            raise DeliveryFailed(error.strerror or type(error).__name__) from None

    def _write(self, envelope: Envelope) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made with mode 0600.
        descriptor, name = tempfile.mkstemp(prefix=".", dir=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(envelope.message)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._directory / f"{envelope.id}.eml")
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


class ConsoleTransport(Transport, Connection):
    """Writes the text of each mail to stderr, links and all: for development."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        yield self

    async def send(self, envelope: Envelope) -> None:
        """Write one mail at once, so that log lines do not get into it."""
        message = envelope.parse()
        text = envelope.read_part("plain")
        rule = "-" * 72
        stream = self._stream or sys.stderr
        stream.write(
            f"{rule}\nTo: {message['To']}\nSubject: {message['Subject']}\n\n{text.rstrip()}\n{rule}\n"
        )
        stream.flush()
