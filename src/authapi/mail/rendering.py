"""Turns a kind of mail, a language and values into a subject, a text and an HTML page.

A kind's template holds its words, the two layouts their form, so that both parts say the same.
Templates come with the package; what users chose reaches them as values only, so `{{7*7}}` in a name stays
what it is (ASVS 1.3.7, 1.3.10). Text is escaped in HTML by the templating engine, never by hand.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from babel.dates import format_date
from babel.units import format_unit
from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from authapi.enums import Locale, MailKind
from authapi.mail.catalogues import choose_locale, load_translations

_LINK = frozenset({"full_name", "link", "lifetime"})
_EVENT = frozenset({"full_name", "when", "ip", "user_agent"})

REQUIRED_CONTEXT: Mapping[MailKind, frozenset[str]] = {
    MailKind.VERIFY_EMAIL: _LINK,
    MailKind.ALREADY_REGISTERED: _EVENT,
    MailKind.RESET_PASSWORD: _LINK | _EVENT,
    MailKind.PASSWORD_CHANGED: _EVENT,
    MailKind.CHANGE_EMAIL: _LINK,
    MailKind.EMAIL_CHANGED: _LINK | _EVENT | {"new_email"},
    MailKind.INVITATION: frozenset({"link", "lifetime"}),
    MailKind.ACCOUNT_DELETED: _EVENT,
    MailKind.SESSION_REUSED: _EVENT,
    MailKind.FACTOR_ADDED: _EVENT,
    MailKind.FACTOR_REMOVED: _EVENT,
    MailKind.RECOVERY_CODES_RENEWED: _EVENT,
    MailKind.LOGIN_THROTTLED: _EVENT,
}
"""What `context` must hold: `lifetime` is a timedelta, `when` an aware datetime, `link` an absolute URL, and
the others are texts; `ip` and `user_agent` may be None."""

# A name of this form is an advertisement or a trap: mail programs make links of it.
_LINK_LIKE = re.compile(r"://|www\.|[a-z0-9-]\.[a-z]{2,}", re.IGNORECASE)
_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail's words; `subject` is one line and holds nothing that a user chose."""

    locale: Locale
    subject: str
    text: str
    html: str


def render(
    kind: MailKind, *, locale: str, service: str, base_url: str, context: Mapping[str, object]
) -> Rendered:
    """Write a mail in the language of `locale`, or in English; `service` is how the service is called.

    Raises `KeyError` naming what `context` lacks.
    """
    missing = sorted(REQUIRED_CONTEXT[kind] - context.keys())
    if missing:
        raise KeyError(f"a {kind} mail needs {', '.join(missing)}")
    language = choose_locale(locale)
    environment = _environment(language)
    values = {
        **{name: _localise(value, language) for name, value in context.items()},
        "locale": language.value,
        "service": service,
        "base_url": base_url,
    }
    words = environment.get_template(f"{kind}.jinja").make_module(values)
    values |= {name: value for name, value in vars(words).items() if not name.startswith("_")}
    return Rendered(
        locale=language,
        subject=str(values["subject"]),
        text=environment.get_template("layout.txt").render(values),
        html=environment.get_template("layout.html").render(values),
    )


def plain(value: object) -> str:
    """A text that somebody chose, on one line; empty if a mail program would make a link of it.

    Anybody can register a stranger's address with an advertisement as the name: the mail must not carry it.
    """
    text = _LINE_BREAKS.sub(" ", str(value).encode(errors="replace").decode()) if value else ""
    return "" if _LINK_LIKE.search(text) else text.strip()


@cache
def _environment(locale: Locale) -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        loader=PackageLoader("authapi", "mail/templates"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined]
        load_translations(locale), newstyle=True
    )
    environment.filters["plain"] = plain
    return environment


def _localise(value: object, locale: Locale) -> object:
    if isinstance(value, datetime):
        # British English has no doubt about which number is the month.
        region = "en_GB" if locale is Locale.EN else locale.value
        instant = value.astimezone(UTC)
        return f"{format_date(instant, 'long', locale=region)}, {instant:%H:%M} UTC"
    if isinstance(value, timedelta):
        return _format_duration(value, locale)
    return value


def _format_duration(duration: timedelta, locale: Locale) -> str:
    """In the largest unit that has more than one and is exact, rounded down to minutes otherwise."""
    for unit, seconds in (("day", 86_400), ("hour", 3600)):
        count, rest = divmod(int(duration.total_seconds()), seconds)
        if count > 1 and not rest:
            return format_unit(count, f"duration-{unit}", locale=locale.value)
    minutes = max(1, int(duration.total_seconds()) // 60)
    return format_unit(minutes, "duration-minute", locale=locale.value)
