"""What a page says when something was refused: words for people, where the API has codes for programs."""

from dataclasses import dataclass

from authapi import errors
from authapi.errors import AuthApiError


@dataclass(frozen=True, slots=True)
class Problem:
    """One sentence, and reasons if there are several; both are keys of the catalogues."""

    text: str
    reasons: tuple[str, ...] = ()


# The first class that fits counts.
TEXTS: tuple[tuple[type[AuthApiError], str], ...] = (
    (errors.InvalidOneTimeToken, errors.InvalidOneTimeToken.message),
    (errors.WeakPassword, "Please choose another password."),
    (errors.InvalidEmail, "This is not an e-mail address."),
    (errors.ValidationFailed, "Please fill in every field."),
    (errors.EmailTaken, errors.EmailTaken.message),
    (errors.TooManyRequests, "Too many requests. Wait a minute, then try again."),
    (errors.ServiceUnavailable, "The service is busy right now. Try again in a moment."),
    (errors.CrossSiteRequest, "This form was sent from another website. Open the link in your mail again."),
)
OTHERWISE = "Something went wrong. Try again later."


def problem_of(error: AuthApiError) -> Problem:
    """How a page tells of an error; the reasons are those why a password is refused."""
    text = next((text for kind, text in TEXTS if isinstance(error, kind)), OTHERWISE)
    is_weak = isinstance(error, errors.WeakPassword)
    return Problem(text, tuple(field.message for field in error.fields) if is_weak else ())
