"""Turns the name of a page, a language and values into HTML: no script, no style of its own, no other host."""

from email.utils import parseaddr

from authapi.enums import Locale, PasswordPolicy
from authapi.mail.composition import domain_of
from authapi.pages.problems import Problem
from authapi.pages.stylesheet import STYLESHEET_PATH, stylesheet
from authapi.settings import Settings
from authapi.templates import open_templates


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
        open_templates("pages", locale)
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
