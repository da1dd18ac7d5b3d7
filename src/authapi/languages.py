"""Which of our languages an account or a browser asks for."""

from authapi.enums import Locale

# Browsers send a handful; nobody may make us sort thousands.
_MAX_RANGES = 20
_MAX_CHARACTERS = 500
_LOCALES = {locale.value: locale for locale in Locale}


def choose_locale(wanted: str) -> Locale:
    """The language for a locale such as `de` or `pt-BR`: English if we do not speak it."""
    return _LOCALES.get(wanted.replace("_", "-").partition("-")[0].lower(), Locale.EN)


def negotiate_locale(accept_language: str | None, *, fallback: Locale = Locale.EN) -> Locale:
    """The best language for an `Accept-Language` header (RFC 9110 section 12.5.4).

    Ranges are compared by their first subtag, so `de-AT` gets German. `fallback` is for no header, for one that
    names none of our languages, and for one that cannot be read.
    """
    weighed: list[tuple[float, Locale]] = []
    for item in (accept_language or "")[:_MAX_CHARACTERS].split(",")[:_MAX_RANGES]:
        tag, _, parameter = item.strip().partition(";")
        language = tag.strip().partition("-")[0].lower()
        weight = _weight(parameter)
        if language in _LOCALES and weight > 0:
            weighed.append((weight, _LOCALES[language]))
    # The first of those that are wanted most: max() keeps the order of the header.
    return max(weighed, key=lambda entry: entry[0])[1] if weighed else fallback


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
