"""Turns the name of a page, a language and values into HTML.

The templates come with the package, and values are escaped by the templating engine (ASVS 1.2.1, 1.3.7). No
page holds a script, a style of its own or anything from another host.
"""

import hashlib
from datetime import UTC, datetime
from email.utils import parseaddr
from functools import cache
from importlib.resources import files

from babel.dates import format_datetime
from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from authapi.enums import Locale, PasswordPolicy
from authapi.mail.catalogues import load_translations
from authapi.mail.composition import domain_of
from authapi.mail.rendering import plain
from authapi.pages.problems import Problem
from authapi.settings import Settings

STYLESHEET_PATH = "/pages/pages.css"


def render(
    name: str,
    *,
    locale: Locale,
    settings: Settings,
    is_done: bool = False,
    problem: Problem | None = None,
    **values: object,
) -> str:
    """Write a page: what it asks for or, with `is_done`, that it was done; `problem` is shown on top."""
    sender = settings.mail.sender
    return (
        _environment(locale)
        .get_template(f"{name}.html")
        .render(
            locale=locale.value,
            service=parseaddr(sender)[0] or domain_of(sender),
            return_url=settings.pages.return_url,
            stylesheet=f"{STYLESHEET_PATH}?v={stylesheet()[1]}",
            min_length=15 if settings.password.policy is PasswordPolicy.NIST else 8,
            is_done=is_done,
            problem=problem,
            **values,
        )
    )


@cache
def stylesheet() -> tuple[bytes, str]:
    """The style sheet of all pages, and a digest by which they ask for it."""
    content = (files("authapi") / "pages" / "pages.css").read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]


@cache
def _environment(locale: Locale) -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        loader=PackageLoader("authapi", "pages/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined]
        load_translations(locale, "pages"), newstyle=True
    )
    # British English: 24 hours, and no doubt which number is the month.
    region = "en_GB" if locale is Locale.EN else locale.value

    def moment(value: datetime) -> str:
        return format_datetime(value, "long", tzinfo=UTC, locale=region).replace("\u202f", " ")

    environment.filters |= {"moment": moment, "plain": plain}
    return environment
