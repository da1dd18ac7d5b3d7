import asyncio
import io
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from authapi.enums import MailKind
from authapi.mail.composition import compose
from authapi.mail.opening import open_transport
from authapi.mail.smtp import SmtpTransport
from authapi.mail.transport import ConsoleTransport, DeliveryFailed, Envelope, FileTransport, Transport
from authapi.setting_groups import MailSettings
from tests.support.smtp_server import (
    PASSWORD,
    USER,
    SmtpServer,
    check_login,
    make_certificate,
    smtp_server,
    text_of,
)

LINK = "https://auth.example.com/verify-email?token=authapi_ott_abc"


def an_envelope(*, to: str = "Ada@example.com", id: str = "1", locale: str = "en") -> Envelope:
    message = compose(
        MailKind.VERIFY_EMAIL,
        sender="The service <no-reply@auth.example.com>",
        to=to,
        locale=locale,
        base_url="https://auth.example.com",
        message_id=f"<{id}@auth.example.com>",
        date=datetime(2026, 1, 2, tzinfo=UTC),
        context={"full_name": "Ada", "link": LINK, "lifetime": timedelta(hours=24)},
    )
    return Envelope(id=id, sender="no-reply@auth.example.com", recipient=to, message=message)


async def send(transport: Transport, *envelopes: Envelope) -> None:
    async with transport.connect() as connection:
        for envelope in envelopes or (an_envelope(),):
            await connection.send(envelope)


def smtp(url: str, *, timeout: float = 2) -> SmtpTransport:
    return SmtpTransport(url, timeout=timeout, local_hostname="auth.example.com")


class TestSmtp:
    async def test_several_mails_over_one_connection(self, server: SmtpServer) -> None:
        await send(smtp(server.url), *(an_envelope(id=str(n)) for n in range(3)))
        assert [message["Message-ID"] for message in server.messages] == [
            f"<{n}@auth.example.com>" for n in range(3)
        ]
        assert server.connections == 1
        assert server.accepted[0].rcpt_tos == ["Ada@example.com"]

    @pytest.mark.parametrize("locale", ["en", "hi"])
    async def test_the_server_gets_what_was_written(self, server: SmtpServer, locale: str) -> None:
        envelope = an_envelope(locale=locale)
        await send(smtp(server.url), envelope)
        assert text_of(server.messages[0]) == text_of(envelope.parse())
        assert LINK in text_of(server.messages[0])

    async def test_an_address_in_another_script(self, server: SmtpServer) -> None:
        await send(smtp(server.url), an_envelope(to="अनीता@example.com"))
        assert server.accepted[0].rcpt_tos == ["अनीता@example.com"]
        assert server.messages[0]["To"] == "अनीता@example.com"

    async def test_the_server_does_not_know_other_scripts(self) -> None:
        async with smtp_server(enable_SMTPUTF8=False) as server:
            with pytest.raises(DeliveryFailed, match="SMTPNotSupported") as failed:
                await send(smtp(server.url), an_envelope(to="अनीता@example.com"))
        assert failed.value.is_permanent

    @pytest.mark.parametrize(
        ("mode", "reason", "permanent", "lost"),
        [
            ("4xx", "SMTPRecipientsRefused 450", False, False),
            ("5xx", "SMTPRecipientsRefused 550", True, False),
            ("data 5xx", "SMTPDataError 554", True, False),
            ("hang", "SMTPReadTimeoutError", False, True),
        ],
    )
    async def test_refusals(
        self, server: SmtpServer, mode: str, reason: str, permanent: bool, lost: bool
    ) -> None:
        server.mode = mode
        with pytest.raises(DeliveryFailed) as failed:
            await send(smtp(server.url, timeout=0.3))
        assert (failed.value.reason, failed.value.is_permanent) == (reason, permanent)
        assert failed.value.is_connection_lost is lost

    async def test_a_connection_goes_on_after_a_refusal(self, server: SmtpServer) -> None:
        async with smtp(server.url).connect() as connection:
            server.mode = "5xx"
            with pytest.raises(DeliveryFailed):
                await connection.send(an_envelope())
            server.mode = "ok"
            await connection.send(an_envelope())
        assert (len(server.accepted), server.connections) == (1, 1)

    async def test_a_server_that_is_down(self, server: SmtpServer) -> None:
        await server.stop()
        with pytest.raises(DeliveryFailed, match="ConnectionRefusedError") as failed:
            await send(smtp(server.url))
        assert failed.value.is_connection_lost
        assert not failed.value.is_permanent

    async def test_a_server_that_says_nothing(self) -> None:
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        started = time.monotonic()
        with pytest.raises(DeliveryFailed, match="Timeout"):
            await send(smtp(f"smtp://127.0.0.1:{port}", timeout=0.3))
        assert time.monotonic() - started < 2
        silent.close()
        await silent.wait_closed()


class TestTls:
    @pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
    async def test_a_certificate_that_the_system_trusts(
        self, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate, context = make_certificate(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        options = (
            {"tls": context} if scheme == "smtps" else {"tls_context": context, "require_starttls": True}
        )
        async with smtp_server(**options) as server:
            await send(smtp(f"{scheme}://127.0.0.1:{server.port}"))
            assert len(server.accepted) == 1

    @pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
    async def test_a_certificate_that_nobody_trusts_is_refused(self, scheme: str, tmp_path: Path) -> None:
        _, context = make_certificate(tmp_path)
        options = {"tls": context} if scheme == "smtps" else {"tls_context": context}
        async with smtp_server(**options) as server:
            with pytest.raises(DeliveryFailed, match="self-signed") as failed:
                await send(smtp(f"{scheme}://127.0.0.1:{server.port}"))
            assert server.attempts == 0
        assert not failed.value.is_permanent

    @pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
    async def test_a_certificate_of_another_host_is_refused(
        self, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate, context = make_certificate(tmp_path, name="mail.example.org")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        options = {"tls": context} if scheme == "smtps" else {"tls_context": context}
        async with smtp_server(**options) as server:
            with pytest.raises(DeliveryFailed, match="IP address mismatch"):
                await send(smtp(f"{scheme}://127.0.0.1:{server.port}"))
            assert server.attempts == 0

    async def test_no_fallback_if_starttls_is_taken_away(self, server: SmtpServer) -> None:
        with pytest.raises(DeliveryFailed) as failed:
            await send(smtp(f"smtp+starttls://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}"))
        assert server.attempts == 0
        assert not failed.value.is_permanent

    async def test_no_fallback_to_plain_text(self, server: SmtpServer) -> None:
        with pytest.raises(DeliveryFailed):
            await send(smtp(f"smtps://127.0.0.1:{server.port}", timeout=0.5))
        assert server.attempts == 0


class TestLogin:
    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"auth_require_tls": False, "authenticator": check_login}

    async def test_the_password_is_percent_decoded(self, options: dict[str, object]) -> None:
        async with smtp_server(**options) as server:
            url = f"smtp://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}"
            await send(smtp(url))
            assert len(server.accepted) == 1
            assert server.logins == [True]

    async def test_a_wrong_password_is_tried_again_later(self, options: dict[str, object]) -> None:
        async with smtp_server(**options) as server:
            with pytest.raises(DeliveryFailed, match="SMTPAuthenticationError 535") as failed:
                await send(smtp(f"smtp://{USER}:wrong@127.0.0.1:{server.port}"))
            assert server.accepted == []
        assert not failed.value.is_permanent

    async def test_a_missing_login_is_tried_again_later(self) -> None:
        async with smtp_server() as server:
            server.mode = "530"
            with pytest.raises(DeliveryFailed, match="530") as failed:
                await send(smtp(server.url))
        assert not failed.value.is_permanent


class TestFile:
    async def test_one_file_a_mail_for_nobody_else(self, tmp_path: Path) -> None:
        directory = tmp_path / "new" / "mails"
        envelope = an_envelope(id="01981d5a")
        await send(FileTransport(directory), envelope)
        (file,) = directory.iterdir()
        assert file.name == "01981d5a.eml"
        assert file.read_bytes() == envelope.message
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    async def test_a_directory_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(DeliveryFailed) as failed:
            await send(FileTransport(tmp_path / "file"))
        assert not failed.value.is_permanent
        assert failed.value.reason == "File exists"


class TestConsole:
    async def test_a_person_can_read_it_and_use_the_link(self) -> None:
        stream = io.StringIO()
        await send(ConsoleTransport(stream), an_envelope(locale="de"))
        shown = stream.getvalue()
        assert "To: Ada@example.com\n" in shown
        assert "Subject: Bestätigen Sie Ihre E-Mail-Adresse\n" in shown
        assert f"\n{LINK}\n" in shown
        assert "<html" not in shown

    async def test_stderr_unless_told_otherwise(self, capsys: pytest.CaptureFixture[str]) -> None:
        await send(ConsoleTransport())
        captured = capsys.readouterr()
        assert LINK in captured.err
        assert captured.out == ""


class TestOpening:
    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            ("console://", ConsoleTransport),
            ("file:///var/mail", FileTransport),
            ("smtp://127.0.0.1", SmtpTransport),
            ("smtp+starttls://u:p@mail.example.org:587", SmtpTransport),
            ("smtps://[2001:db8::1]", SmtpTransport),
        ],
    )
    def test_by_the_scheme(self, url: str, kind: type[Transport]) -> None:
        assert isinstance(open_transport(MailSettings(url=url)), kind)

    async def test_a_directory_may_hold_any_character(self, tmp_path: Path) -> None:
        await send(open_transport(MailSettings(url=f"file://{quote(str(tmp_path))}/a%20b")))
        assert len(list((tmp_path / "a b").iterdir())) == 1
