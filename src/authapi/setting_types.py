"""The kinds of values that settings take, each parsed from the text of an environment variable."""

import re
from datetime import timedelta
from email.utils import parseaddr
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic.networks import IPvAnyNetwork

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
# Any scheme: apps in a shell of their own send capacitor://localhost and the like.
_WEB_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_SENDER = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> object:
    """Turn `90`, `"90"`, `"15m"`, `"30d"` into a timedelta; anything else is left to pydantic to refuse."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=value)
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip().lower())
        if match is None:
            raise ValueError("must be seconds or a number with a unit, such as 30s, 15m, 1h or 30d")
        return timedelta(seconds=float(match[1]) * _UNIT_SECONDS[match[2]])
    return value


def split_list(value: object) -> object:
    """Turn a comma-separated text into a list without empty items."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero")
    return value


def _origin(value: str) -> str:
    """Require `scheme://host[:port]` without a path and drop a trailing slash."""
    value = value.rstrip("/")
    parts = urlsplit(value)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.path
        or parts.query
        or "@" in value
    ):
        raise ValueError("must look like https://auth.example.com, without a path")
    return value.lower()


def _web_origins(values: list[str]) -> list[str]:
    """Require of each `*` or what browsers send as Origin (RFC 6454 section 6.2), in lower case.

    It is compared letter by letter, so anything else would never match; except `null`, which every sandboxed
    frame may send.
    """
    origins = [value.lower().removesuffix("/") for value in values]
    for origin in origins:
        has_default_port = origin.startswith("http:") and origin.endswith(":80")
        has_default_port |= origin.startswith("https:") and origin.endswith(":443")
        if origin != "*" and (has_default_port or not _WEB_ORIGIN.fullmatch(origin)):
            raise ValueError(
                "an origin looks like https://app.example.com: scheme://host[:port], without a path, a wildcard "
                "or the port that the scheme has anyway"
            )
    return origins


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    # Printable ASCII without quotes and spaces: it stands in the HTML of pages as it is.
    if parts.scheme not in {"http", "https"} or not parts.hostname or not re.fullmatch(r"[!#-;=?-~]+", value):
        raise ValueError("must be an absolute address such as https://app.example.com/login")
    return value


def _async_driver(value: str) -> str:
    """Name the asynchronous driver, whatever spelling hosting platforms hand out."""
    for spelling in ("postgres://", "postgresql://"):
        if value.startswith(spelling):
            return "postgresql+asyncpg://" + value.removeprefix(spelling)
    if value.startswith("sqlite://"):
        return "sqlite+aiosqlite://" + value.removeprefix("sqlite://")
    if not value.startswith(("postgresql+asyncpg://", "sqlite+aiosqlite:///")):
        raise ValueError("must start with postgresql+asyncpg:// or sqlite+aiosqlite:///")
    return value


def _mail_url(value: str) -> str:
    parts = urlsplit(value)
    needs_host = parts.scheme in {"smtp", "smtp+starttls", "smtps"}
    if parts.scheme not in {"console", "file", "smtp", "smtp+starttls", "smtps"} or (
        parts.hostname is None and needs_host
    ):
        raise ValueError("must be console://, file:///dir, smtp://, smtp+starttls:// or smtps://host")
    if parts.scheme == "file" and (parts.netloc or not parts.path.strip("/")):
        raise ValueError("must name a directory by its whole path: file:///var/mail")
    if needs_host and (parts.path.strip("/") or parts.query or not _is_port(parts)):
        raise ValueError("must end after the host or port; percent-encode / ? # @ in the password")
    return value


def _is_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _mail_sender(value: str) -> str:
    """Require `name@domain` or `Name <name@domain>`, on one line, with an address in ASCII."""
    address = parseaddr(value)[1]
    if not _SENDER.fullmatch(address) or not value.isprintable():
        raise ValueError("must look like no-reply@example.com or Name <no-reply@example.com>")
    return value


def _not_everybody(networks: list[IPvAnyNetwork]) -> list[IPvAnyNetwork]:
    # Trusting everybody lets each client choose the address that it is limited and admitted by.
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("must not trust everybody; name the proxies' addresses")
    return networks


def _thirty_two_bytes(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) < 32:
        raise ValueError("must be at least 32 bytes; make one with: openssl rand -base64 48")
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_positive)]
Origin = Annotated[str, AfterValidator(_origin)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
DatabaseUrl = Annotated[str, AfterValidator(_async_driver)]
MailUrl = Annotated[str, AfterValidator(_mail_url)]
MailSender = Annotated[str, AfterValidator(_mail_sender)]
StrongSecret = Annotated[SecretStr, AfterValidator(_thirty_two_bytes)]
WebOrigins = Annotated[list[str], BeforeValidator(split_list), AfterValidator(_web_origins)]
Networks = Annotated[list[IPvAnyNetwork], BeforeValidator(split_list)]
ProxyNetworks = Annotated[Networks, AfterValidator(_not_everybody)]
