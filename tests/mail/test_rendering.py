import html
import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default

import pytest

from authapi.enums import Locale, MailKind
from authapi.mail.composition import compose
from authapi.mail.contexts import REQUIRED_CONTEXT
from authapi.mail.rendering import Rendered, render
from authapi.mail.transport import Envelope
from authapi.templates import plain
from tests.support.smtp_server import text_of

LINK = "https://auth.example.com/reset-password?token=authapi_ott_abc&x=1"
CONTEXT: dict[str, object] = {
    "full_name": "Ada Lovelace",
    "link": LINK,
    "lifetime": timedelta(minutes=30),
    "when": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0.0.0",
    "new_email": "new@example.com",
}
# Names as a hostile list of strings has them: code, markup, scripts of many directions, odd spaces.
NAUGHTY = [
    "{{7*7}}",
    "{0.__class__}",
    "%s%s%n%(name)s%d",
    "${jndi:ldap}",
    "{% include 'x' %}",
    '"><script>alert(1)</script>',
    "'; DROP TABLE users;--",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp;amp;",
    "Ω≈ç√∫˜µ≤≥÷",
    "田中さんにあげて下さい",
    "👩‍👩‍👧‍👦 👾",
    "בְּרֵאשִׁית הָיְתָה",
    "مُنَاقَشَةُ سُبُلِ",
    "क्‍ष अनीता",
    "Ṱ̺̺̕o͞ ̷i̲̬͇̪͙n̝̗͕v̟̜̘̦͟o̶̙̰̠kè͚̮̺̪̹̱̤",
    "\u202eevil\u202c",
    "nil NULL undefined 0x0 1/0",
    "a" * 200,
    "漢" * 200,
    "\\u0000\\r\\nBcc: x",
    "=?utf-8?q?=0D=0ABcc:x?=",
]


def render_as(kind: MailKind = MailKind.RESET_PASSWORD, *, locale: str = "en", **context: object) -> Rendered:
    return render(
        kind,
        locale=locale,
        service="The service",
        base_url="https://auth.example.com",
        context=CONTEXT | context,
    )


def compose_as(
    kind: MailKind = MailKind.RESET_PASSWORD,
    *,
    to: str = "Ada@example.com",
    sender: str = "The service <no-reply@auth.example.com>",
    locale: str = "en",
    **context: object,
) -> bytes:
    return compose(
        kind,
        sender=sender,
        to=to,
        locale=locale,
        base_url="https://auth.example.com",
        message_id="<1@auth.example.com>",
        date=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        context=CONTEXT | context,
    )


def read(message: bytes) -> EmailMessage:
    return message_from_bytes(message, EmailMessage, policy=default)


def words_of(page: str) -> str:
    """What a person reads of an HTML page, in one line."""
    body = page.partition("<body")[2].partition(">")[2]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


class TestEveryKind:
    @pytest.mark.parametrize("locale", Locale)
    @pytest.mark.parametrize("kind", MailKind)
    def test_both_parts_say_the_same(self, kind: MailKind, locale: Locale) -> None:
        mail = render_as(kind, locale=locale)
        page = words_of(mail.html)
        text = mail.text.partition("\n-- \n")[0]
        for line in text.splitlines():
            assert re.sub(r"\s+", " ", line).strip() in page, line
        assert mail.subject in page
        assert "\n" not in mail.subject
        assert f'<html lang="{locale}"' in mail.html
        assert "{" not in text
        assert "%(" not in mail.text + mail.html + mail.subject

    @pytest.mark.parametrize("kind", MailKind)
    def test_nothing_is_loaded_or_followed(self, kind: MailKind) -> None:
        page = render_as(kind).html
        assert not re.search(r"<(img|script|link|iframe|object|form)\b|@import|url\(|src=", page)
        targets = set(re.findall(r'href="([^"]*)"', page))
        assert targets <= {html.escape(LINK)}

    @pytest.mark.parametrize("kind", MailKind)
    def test_what_is_missing_is_named(self, kind: MailKind) -> None:
        for name in REQUIRED_CONTEXT[kind]:
            context = {key: value for key, value in CONTEXT.items() if key != name}
            with pytest.raises(KeyError, match=name):
                render(kind, locale="en", service="s", base_url="https://s.example", context=context)

    def test_a_link_is_whole_in_both_parts(self) -> None:
        mail = render_as()
        assert f"\n{LINK}\n" in mail.text
        assert mail.html.count(f'href="{html.escape(LINK)}"') == 2

    def test_unknown_caller_is_left_out(self) -> None:
        mail = render_as(ip=None, user_agent=None)
        assert "IP address" not in mail.text + mail.html
        assert "Device" not in mail.text + mail.html
        assert "None" not in mail.text + mail.html

    @pytest.mark.parametrize(
        ("lifetime", "text"),
        [
            (timedelta(minutes=30), "30 minutes"),
            (timedelta(minutes=1), "1 minute"),
            (timedelta(hours=1), "60 minutes"),
            (timedelta(minutes=90), "90 minutes"),
            (timedelta(hours=24), "24 hours"),
            (timedelta(days=7), "7 days"),
        ],
    )
    def test_durations_are_exact(self, lifetime: timedelta, text: str) -> None:
        assert f"once, for {text}." in render_as(lifetime=lifetime).text

    @pytest.mark.parametrize(
        ("locale", "greeting", "when"),
        [
            ("en", "Hello Ada Lovelace,", "When: 2 January 2026, 03:04 UTC"),
            ("de", "Hallo Ada Lovelace,", "Wann: 2. Januar 2026, 03:04 UTC"),
            ("de-AT", "Hallo Ada Lovelace,", "Wann: 2. Januar 2026, 03:04 UTC"),
            ("fr_CA", "Bonjour Ada Lovelace,", "Quand : 2 janvier 2026, 03:04 UTC"),
            ("es", "Hola, Ada Lovelace:", "Cuándo: 2 de enero de 2026, 03:04 UTC"),
            ("hi", "नमस्ते Ada Lovelace,", "कब: 2 जनवरी 2026, 03:04 UTC"),
            ("tlh", "Hello Ada Lovelace,", "When: 2 January 2026, 03:04 UTC"),
            ("", "Hello Ada Lovelace,", "When: 2 January 2026, 03:04 UTC"),
        ],
    )
    def test_languages(self, locale: str, greeting: str, when: str) -> None:
        text = render_as(locale=locale).text
        assert text.startswith(f"{greeting}\n")
        assert f"\n{when}\n" in text


class TestHostileValues:
    @pytest.mark.parametrize("name", NAUGHTY)
    @pytest.mark.parametrize("locale", ["en", "hi"])
    def test_a_name_arrives_as_it_is(self, name: str, locale: str) -> None:
        message = read(compose_as(full_name=name, locale=locale))
        assert name in text_of(message)
        page = text_of(message, "html")
        assert str(html.escape(name, quote=False)) in page.replace("&#34;", '"').replace("&#39;", "'")
        assert "<script" not in page
        assert "<img" not in page
        assert message.keys().count("To") == 1
        assert "Bcc" not in message

    @pytest.mark.parametrize("name", ["a\r\nBcc: x", "a\x00b", "a\u2028b", "a\x85b", "a\x1b[31mb"])
    def test_a_name_stays_on_its_line(self, name: str) -> None:
        first = render_as(full_name=name).text.split("\n")[0]
        assert first.startswith("Hello a ")
        assert first.endswith(",")
        assert first.isprintable()

    @pytest.mark.parametrize(
        "name",
        [
            "You won! https://evil.example/",
            "www.evil.example",
            "visit evil.example now",
            "EVIL.COM",
            "http://[::1]",
        ],
    )
    def test_a_name_that_would_become_a_link_is_left_out(self, name: str) -> None:
        mail = render_as(full_name=name, user_agent=name)
        assert mail.text.startswith("Hello,\n")
        assert name not in mail.text
        assert name not in mail.html
        assert "Device" not in mail.text

    @pytest.mark.parametrize("name", ["Dr. Ada Lovelace", "J.R.R. Tolkien", "Ada", "O'Neil-Smith", "Jr."])
    def test_names_of_people_stay(self, name: str) -> None:
        assert plain(name) == name

    def test_a_lone_surrogate_does_no_harm(self) -> None:
        assert "Hello a?b," in text_of(read(compose_as(full_name="a\ud800b")))


class TestForm:
    def test_headers(self) -> None:
        message = read(compose_as())
        assert message["From"] == "The service <no-reply@auth.example.com>"
        assert message["To"] == "Ada@example.com"
        assert message["Subject"] == "Reset your password"
        assert message["Message-ID"] == "<1@auth.example.com>"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Content-Language"] == "en"
        assert message["Date"].datetime == datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
        assert message.get_content_type() == "multipart/alternative"
        assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]

    @pytest.mark.parametrize("locale", Locale)
    @pytest.mark.parametrize("kind", MailKind)
    def test_every_mail_is_fit_for_the_oldest_server(self, kind: MailKind, locale: Locale) -> None:
        message = compose_as(kind, locale=locale, full_name="Zoë 漢")
        assert message.isascii()
        assert all(len(line) <= 998 for line in message.split(b"\r\n"))
        assert b"\n" not in message.replace(b"\r\n", b"")

    def test_a_link_can_be_read_in_the_raw_mail(self) -> None:
        assert LINK.encode() in compose_as()

    @pytest.mark.parametrize("to", ["a\r\nBcc: x@example.com", "a b\n@example.com"])
    def test_an_address_cannot_add_a_header(self, to: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            compose_as(to=to)

    def test_an_address_in_another_script(self) -> None:
        raw = compose_as(to="अनीता@example.com")
        message = Envelope(id="1", sender="", recipient="", message=raw).parse()
        assert message["To"].addresses == (Address(username="अनीता", domain="example.com"),)

    def test_without_a_name_the_service_is_called_by_its_domain(self) -> None:
        message = read(compose_as(sender="no-reply@auth.example.com"))
        assert "from auth.example.com, https://auth.example.com" in text_of(message)
