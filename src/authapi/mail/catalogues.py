"""The translations of mails and pages, read from the package's `.po` files: no step has to compile them."""

from functools import cache
from importlib.resources import files
from io import BytesIO

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from authapi.enums import Locale

DOMAIN = "authapi"
SOURCE_LOCALE = Locale.EN


def choose_locale(wanted: str) -> Locale:
    """The language for a locale such as `de` or `pt-BR`: the source's if there is no translation."""
    language = wanted.replace("_", "-").partition("-")[0].lower()
    return next((locale for locale in Locale if locale == language), SOURCE_LOCALE)


@cache
def load_catalogue(locale: Locale, part: str = "mail") -> Catalog:
    """What a translator wrote for `mail` or `pages`; the source language has none (`FileNotFoundError`)."""
    path = files("authapi") / part / "locale" / locale.value / f"{DOMAIN}.po"
    with path.open("rb") as file:
        return read_po(file, locale=locale.value, domain=DOMAIN, abort_invalid=True)


@cache
def load_translations(locale: Locale, part: str = "mail") -> NullTranslations:
    """The same for gettext, in memory, once a process."""
    if locale is SOURCE_LOCALE:
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, load_catalogue(locale, part))
    compiled.seek(0)
    return Translations(compiled, DOMAIN)
