"""Cookies that may hold the refresh and the device token, out of reach of scripts (ASVS 3.3.1 to 3.3.4)."""

import re
from dataclasses import dataclass

from fastapi import Request, Response

from authapi import clock, errors
from authapi.services import known_devices
from authapi.services.user_sessions import SessionTokens
from authapi.settings import Settings

LOCALHOST_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
REFRESH = "authapi_refresh"
DEVICE = "authapi_device"


@dataclass(frozen=True, slots=True)
class BodyTokens:
    """What the body shows: the tokens, or None where cookies hold them."""

    refresh_token: str | None
    device_token: str | None


def deliver(response: Response, settings: Settings, tokens: SessionTokens, *, in_cookie: bool) -> BodyTokens:
    """Set the cookies if they are wanted; returns what is left for the body."""
    if not in_cookie:
        return BodyTokens(tokens.refresh_token, tokens.device_token)
    session = tokens.user_session
    lasts = min(session.expires_at, session.idle_expires_at) - clock.utc_now()
    _set(response, settings, REFRESH, tokens.refresh_token, max_age=max(0, int(lasts.total_seconds())))
    if tokens.device_token is not None:
        remember_device(response, settings, tokens.device_token)
    return BodyTokens(None, None)


def remember_device(response: Response, settings: Settings, device_token: str) -> None:
    """Have the browser show with its logins that it is a known device."""
    max_age = int(known_devices.LIFETIME.total_seconds())
    _set(response, settings, DEVICE, device_token, max_age=max_age)


def clear_refresh_token(response: Response, settings: Settings) -> None:
    """Make the browser forget the refresh token; the device stays known."""
    _set(response, settings, REFRESH, "", max_age=0)


def read_refresh_token(request: Request, settings: Settings) -> str | None:
    """The refresh token from the cookie, if a page that may use it made the request.

    SameSite=Strict still lets sibling hosts through, so the page's origin must be our own or on the CORS
    allow-list; browsers send it with every POST. Raises `CrossSiteRequest`.
    """
    refresh_token = request.cookies.get(_name(settings, REFRESH))
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


def read_device_token(request: Request, settings: Settings) -> str | None:
    """The device token from the cookie; it proves nothing by itself, so any page may bring it."""
    return request.cookies.get(_name(settings, DEVICE))


def is_allowed_origin(settings: Settings, origin: str) -> bool:
    """Whether pages of this origin may speak for their users; development trusts localhost."""
    if origin == settings.base_url or origin in settings.cors.allowed_origins:
        return True
    return not settings.is_production and LOCALHOST_ORIGIN.fullmatch(origin) is not None


def _name(settings: Settings, name: str) -> str:
    """Over https the prefix makes browsers insist on Secure, the whole host and the path /."""
    return f"__Host-{name}" if settings.is_https else name


def _set(response: Response, settings: Settings, name: str, value: str, *, max_age: int) -> None:
    response.set_cookie(
        _name(settings, name),
        value,
        max_age=max_age,
        path="/",
        secure=settings.is_https,
        httponly=True,
        samesite="strict",
    )
