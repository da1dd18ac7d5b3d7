"""E-mail addresses: what a person typed, and the one canonical form that accounts are unique by."""

import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

MAX_EMAIL_CHARACTERS = 320


class MalformedEmail(ValueError):
    """The text is not one plain address; display names and comments are refused too."""


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """`display` is what the person typed, `canonical` what is compared."""

    display: str
    canonical: str


def parse_email(text: str, *, allow_special_domains: bool = False) -> EmailAddress:
    """Check an address and reduce its spellings to one: NFKC, IDNA domain, lower case.

    `User@Example.com`, `user@example.com ` and a full-width `user` are one account; otherwise a twin could be
    registered to receive what is meant for its neighbour. `allow_special_domains` accepts .test, .local and
    localhost. Raises `MalformedEmail`.
    """
    typed = text.strip()
    if len(typed) > MAX_EMAIL_CHARACTERS:
        raise MalformedEmail("too long")
    try:
        parts = validate_email(typed, check_deliverability=False, test_environment=allow_special_domains)
        local = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", parts.local_part).lower())
        # Checked again: a compatibility character may have hidden an "@" from the first check.
        canonical = validate_email(
            f"{local}@{parts.ascii_domain.lower()}",
            check_deliverability=False,
            test_environment=allow_special_domains,
        )
    except EmailNotValidError as error:
        raise MalformedEmail(str(error)) from None
    if canonical.ascii_domain is None or not canonical.local_part:
        raise MalformedEmail("incomplete")
    return EmailAddress(
        display=typed,
        canonical=f"{canonical.local_part}@{canonical.ascii_domain}".lower(),
    )
