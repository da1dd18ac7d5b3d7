"""The cookie that may hold a refresh token, out of reach of scripts (ASVS 3.3.1 to 3.3.4)."""

import re

from fastapi import Request, Response

from authapi import clock, errors
from authapi.services.user_sessions import SessionTokens
from authapi.settings import Settings

LOCALHOST_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")


def cookie_name(settings: Settings) -> str:
    """The name; over https its prefix makes browsers insist on Secure, the whole host and the path /."""
    return "__Host-authapi_refresh" if settings.is_https else "authapi_refresh"


def deliver(response: Response, settings: Settings, tokens: SessionTokens, *, in_cookie: bool) -> str | None:
    """Set the cookie if it is wanted; returns the refresh token for the body, None if the cookie has it."""
    if not in_cookie:
        return tokens.refresh_token
    session = tokens.user_session
    lasts = min(session.expires_at, session.idle_expires_at) - clock.utc_now()
    _set(response, settings, tokens.refresh_token, max_age=max(0, int(lasts.total_seconds())))
    return None


def clear(response: Response, settings: Settings) -> None:
    """Make the browser forget the cookie."""
    _set(response, settings, "", max_age=0)


def read(request: Request, settings: Settings) -> str | None:
    """The refresh token from the cookie, if a page that may use it made the request.

    SameSite=Strict still lets sibling hosts through, so the page's origin must be our own or on the CORS
    allow-list; browsers send it with every POST. Raises `CrossSiteRequest`.
    """
    refresh_token = request.cookies.get(cookie_name(settings))
    if not refresh_token:
        return None
    origin = request.headers.get("Origin")
    if origin is None:
        # No browser, or one that says by itself where the request comes from.
        if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
            raise errors.CrossSiteRequest("no Origin")
    elif not is_allowed_origin(settings, origin):
        raise errors.CrossSiteRequest("foreign Origin")
    return refresh_token


def is_allowed_origin(settings: Settings, origin: str) -> bool:
    """Whether pages of this origin may speak for their users; development trusts localhost."""
    if origin == settings.base_url or origin in settings.cors.allowed_origins:
        return True
    return not settings.is_production and LOCALHOST_ORIGIN.fullmatch(origin) is not None


def _set(response: Response, settings: Settings, value: str, *, max_age: int) -> None:
    response.set_cookie(
        cookie_name(settings),
        value,
        max_age=max_age,
        path="/",
        secure=settings.is_https,
        httponly=True,
        samesite="strict",
    )
