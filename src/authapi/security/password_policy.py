"""Which new passwords are accepted: length, the words everybody uses, the words that belong to this user.

Two policies. `nist` asks for 15 characters of any kind (SP 800-63B 3.1.1.2, ASVS 6.2.1, 6.2.5), `classic` for
8 with an upper-case letter, a lower-case letter and a digit. Both refuse common passwords.
"""

import functools
import gzip
import importlib.resources
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from authapi.security.passwords import PasswordNotHashable, PasswordTooLong, normalise

__all__ = ["PasswordPolicy", "PasswordRejected", "Reason", "check_password"]

PasswordPolicy = Literal["classic", "nist"]

_MIN_LENGTH: Final[dict[PasswordPolicy, int]] = {"classic": 8, "nist": 15}
# Shorter words are part of too many good passwords to be held against them.
_MIN_WORD: Final = 4
# So much must remain of a password when the words that belong to the user are taken out.
_MIN_OWN_CONTENT: Final = 8
# A year, "123" or the like around a common word; signs do not count.
_MAX_DECORATION: Final = 4

_SEQUENCES: Final = tuple(
    direction
    for row in (
        "1234567890",
        "abcdefghijklmnopqrstuvwxyz",
        "qwertyuiopasdfghjklzxcvbnm",
        "qwertzuiop",
        "azertyuiop",
    )
    for direction in (row * 8, row[::-1] * 8)
)
_LEET: Final = tuple(
    str.maketrans("0134578@$!+" + extra, "oieastbasit" + meaning)
    for extra, meaning in (("", ""), ("1!", "ll"))
)
_SEPARATORS: Final = dict.fromkeys(map(ord, " .,_-/'"))
_SIGNS: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a password was refused: a stable snake_case `code`, and a `message` that tells what to do."""

    code: str
    message: str


class PasswordRejected(ValueError):
    """The password does not meet the policy; `reasons` holds every reason at once and never the password."""

    def __init__(self, reasons: tuple[Reason, ...]) -> None:
        super().__init__(", ".join(reason.code for reason in reasons))
        self.reasons = reasons


_TOO_LONG: Final = Reason("password_too_long", "Use at most 1,024 bytes; that is several hundred characters.")
_NOT_TEXT: Final = Reason("password_not_text", "Use characters that are valid Unicode text.")
_NEEDS_UPPER: Final = Reason("password_needs_upper_case", "Add an upper-case letter.")
_NEEDS_LOWER: Final = Reason("password_needs_lower_case", "Add a lower-case letter.")
_NEEDS_DIGIT: Final = Reason("password_needs_digit", "Add a digit.")
_COMMON: Final = Reason(
    "password_compromised",
    "This password, or a simple variation of it, is on lists that attackers try first. "
    "Choose something else, for example four or more unrelated words.",
)
_PERSONAL: Final = Reason(
    "password_contains_personal_data",
    "Do not build the password from your e-mail address, your name or the name of this service.",
)


def check_password(
    password: str,
    *,
    policy: PasswordPolicy,
    email: str | None = None,
    full_name: str | None = None,
    context_words: Sequence[str] = ("authapi",),
) -> None:
    """Raise PasswordRejected with all reasons, or return None.

    Lengths are code points, the smaller number of those before and after NFKC (a ligature is one keystroke,
    not many). Covers ASVS 6.2.1, 6.2.4, 6.2.8, 6.2.9, 6.2.11 and SP 800-63B 3.1.1.2. Reads the list of
    common passwords at its first call.
    """
    try:
        text = normalise(password)
    except PasswordTooLong:
        raise PasswordRejected((_TOO_LONG,)) from None
    except PasswordNotHashable:
        raise PasswordRejected((_NOT_TEXT,)) from None
    reasons = []
    minimum = _MIN_LENGTH[policy]
    if min(len(password), len(text)) < minimum:
        reasons.append(Reason("password_too_short", f"Use at least {minimum} characters."))
    if policy == "classic":
        reasons += _missing_kinds(text)
    folded = _fold(text)
    if _is_guessable(folded):
        reasons.append(_COMMON)
    words = _personal_words(email=email, full_name=full_name, context_words=context_words)
    if any(_is_made_of(form, words) for form in _spellings(folded)):
        reasons.append(_PERSONAL)
    if reasons:
        raise PasswordRejected(tuple(reasons))


def _missing_kinds(text: str) -> Iterator[Reason]:
    if not any(character.isupper() for character in text):
        yield _NEEDS_UPPER
    if not any(character.islower() for character in text):
        yield _NEEDS_LOWER
    if not any(character.isdigit() for character in text):
        yield _NEEDS_DIGIT


@functools.cache
def _common_passwords() -> frozenset[str]:
    packed = importlib.resources.files("authapi.security").joinpath("common_passwords.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode().splitlines())


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text.casefold())


def _spellings(folded: str) -> set[str]:
    """Return the text as it is and with the usual substitutes read as letters (p@ssw0rd)."""
    return {folded, *(folded.translate(table) for table in _LEET)}


def _is_guessable(folded: str) -> bool:
    """Tell whether the text is a common password or keyboard row, or one repeated, respelled or decorated."""
    # Nothing is trimmed or collapsed in what gets hashed; this looks at shapes only.
    text = folded.strip()
    if _is_listed(text):
        return True
    for core, decoration in _undecorated(text):
        if len(core) >= _MIN_WORD and any(map(_is_listed, _spellings(core))):
            padding = _SIGNS.sub("", decoration)
            if len(padding) <= _MAX_DECORATION or _is_listed(padding):
                return True
    return False


def _is_listed(text: str) -> bool:
    unit = _repeated_unit(text)
    if text.isascii() and len(unit) <= 1:
        return True
    return any(
        form in _common_passwords() or (len(form) >= _MIN_WORD and any(form in row for row in _SEQUENCES))
        for form in (text, unit)
    )


def _repeated_unit(text: str) -> str:
    """Return the shortest string of which the text is a repetition: "abc" for "abcabc"."""
    return text[: (text + text).find(text, 1)]


def _undecorated(text: str) -> Iterator[tuple[str, str]]:
    """Yield the text without the digits and signs after it, before it, and both; with what was cut off."""
    letters = [index for index, character in enumerate(text) if character.isalpha()]
    if not letters:
        return
    start, end = letters[0], letters[-1] + 1
    yield text, ""
    yield text[:end], text[end:]
    yield text[start:], text[:start]
    yield text[start:end], text[:start] + text[end:]


def _personal_words(*, email: str | None, full_name: str | None, context_words: Sequence[str]) -> list[str]:
    """Return the words of at least four characters, longest first, whole and in their parts, folded."""
    address = _fold(email or "")
    local, _, domain = address.partition("@")
    # The last label of a domain (com, info) says nothing about its owner.
    names = [local, *domain.split(".")[:-1], *map(_fold, (full_name or "", *context_words))]
    words = {address, domain, *names}
    words.update([_SIGNS.sub("", word) for word in words])
    words.update(*map(_SIGNS.split, names))
    words.update([_without_accents(word) for word in words])
    return sorted((word for word in words if len(word) >= _MIN_WORD), key=len, reverse=True)


def _without_accents(text: str) -> str:
    return "".join(
        character for character in unicodedata.normalize("NFKD", text) if not unicodedata.combining(character)
    )


def _is_made_of(folded: str, words: list[str]) -> bool:
    """Tell whether little, or nothing but a common password, is left when the words are taken out."""
    rest = folded
    for word in words:
        rest = rest.replace(word, "").replace(word[::-1], "")
    own = rest.translate(_SEPARATORS)
    # Eight digits are a date.
    is_little = len(own) < _MIN_OWN_CONTENT or (own.isdigit() and len(own) == _MIN_OWN_CONTENT)
    return rest != folded and (is_little or _is_guessable(rest))
