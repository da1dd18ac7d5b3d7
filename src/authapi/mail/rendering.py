"""Turns a kind of mail, a language and values into a subject, a text and an HTML page.

A kind's template holds its words, the two layouts their form, so that both parts say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from babel.dates import format_date
from babel.units import format_unit

from authapi.enums import Locale, MailKind
from authapi.languages import choose_locale
from authapi.mail.contexts import REQUIRED_CONTEXT
from authapi.templates import open_templates, region_of


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
    templates = open_templates("mail", language)
    values = {
        **{name: _localise(value, language) for name, value in context.items()},
        "locale": language.value,
        "service": service,
        "base_url": base_url,
    }
    words = templates.get_template(f"{kind}.jinja").make_module(values)
    values |= {name: value for name, value in vars(words).items() if not name.startswith("_")}
    return Rendered(
        locale=language,
        subject=str(values["subject"]),
        text=templates.get_template("layout.txt").render(values),
        html=templates.get_template("layout.html").render(values),
    )


def _localise(value: object, locale: Locale) -> object:
    if isinstance(value, datetime):
        instant = value.astimezone(UTC)
        return f"{format_date(instant, 'long', locale=region_of(locale))}, {instant:%H:%M} UTC"
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
