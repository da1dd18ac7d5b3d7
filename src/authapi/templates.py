"""The environment in which mails and pages are written: sandboxed, and in the reader's language.

Templates come with the package, and what users chose reaches them as values only, so `{{7*7}}` in a name stays
what it is (ASVS 1.3.7, 1.3.10). Translations are read from the package's `.po` files: no step has to compile
them. Imported after the start, beside the first requests: its libraries would be a part of it that can wait.
"""

import re
from datetime import UTC, datetime
from functools import cache, partial
from importlib.resources import files
from io import BytesIO

from babel.dates import format_datetime
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from authapi.enums import Locale

DOMAIN = "authapi"

# A name of this form is an advertisement or a trap: mail programs make links of it.
_LINK_LIKE = re.compile(r"://|www\.|[a-z0-9-]\.[a-z]{2,}", re.IGNORECASE)
_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@cache
def open_templates(part: str, locale: Locale) -> SandboxedEnvironment:
    """The templates of `mail` or `pages`, translated; values are escaped in `.html`, by no hand (ASVS 1.2.1)."""
    environment = SandboxedEnvironment(
        loader=PackageLoader("authapi", f"{part}/templates"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    # The extension adds the method to the environment, where the type checker cannot see it.
    environment.install_gettext_translations(  # type: ignore[attr-defined]
        _load_translations(part, locale), newstyle=True
    )
    environment.filters |= {"plain": plain, "moment": partial(_moment, locale=locale)}
    return environment


@cache
def load_catalogue(part: str, locale: Locale) -> Catalog:
    """What a translator wrote for `mail` or `pages`; English has none (`FileNotFoundError`)."""
    path = files("authapi") / part / "locale" / locale.value / f"{DOMAIN}.po"
    with path.open("rb") as file:
        return read_po(file, locale=locale.value, domain=DOMAIN, abort_invalid=True)


def plain(value: object) -> str:
    """A text that somebody chose, on one line; empty if a mail program would make a link of it.

    Anybody can register a stranger's address with an advertisement as the name: the mail must not carry it.
    """
    text = _LINE_BREAKS.sub(" ", str(value).encode(errors="replace").decode()) if value else ""
    return "" if _LINK_LIKE.search(text) else text.strip()


def region_of(locale: Locale) -> str:
    """Whose way to write dates it is; British English has no doubt about which number is the month."""
    return "en_GB" if locale is Locale.EN else locale.value


def _moment(value: datetime, *, locale: Locale) -> str:
    return format_datetime(value, "long", tzinfo=UTC, locale=region_of(locale)).replace("\u202f", " ")


def _load_translations(part: str, locale: Locale) -> NullTranslations:
    if locale is Locale.EN:
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, load_catalogue(part, locale))
    compiled.seek(0)
    return Translations(compiled, DOMAIN)
