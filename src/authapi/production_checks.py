"""What production refuses to start with: every unsafe setting, named, with what to do about it."""

import itertools
import re
from email.utils import parseaddr
from ipaddress import ip_address
from urllib.parse import urlsplit

from authapi.settings import Settings

MIN_BCRYPT_ROUNDS = 10

# 32 random hexadecimal digits have fewer with a probability below one in a million.
_MIN_DISTINCT_CHARACTERS = 8
# Compared without case and punctuation. The hexadecimal one is the key of FastAPI's tutorial.
_KNOWN_WORDS = re.compile(
    r"changeme|changethis|replaceme|replacethis|placeholder|(your|my|jwt|super|top|very)secret|secretkey"
    r"|insecure|password|example|fortestsonly|donotuse|notsecret|256bit|longenough|123456789"
    r"|09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"
)


def production_problems(settings: Settings, *, workers: int) -> list[str]:
    """One line for each reason not to run these settings in production, empty if there is none.

    The environment that the settings name plays no part, so that development can be asked too. Sources: ASVS
    11.2.3, 11.4.2, 12.2.1, 13.2.3.
    """
    problems = [
        *_secret_problems(settings),
        *_address_problems(settings),
        *_limit_problems(settings, workers=workers),
        *_mail_problems(settings),
    ]
    if workers > 1 and settings.database_url.startswith("sqlite"):
        problems.append(
            f"AUTHAPI_DATABASE__URL: SQLite cannot serve {workers} workers; use postgresql://… or --workers 1"
        )
    if settings.password.bcrypt_rounds < MIN_BCRYPT_ROUNDS:
        problems.append(
            f"AUTHAPI_PASSWORD__BCRYPT_ROUNDS: {settings.password.bcrypt_rounds} makes guessing cheap; "
            f"use {MIN_BCRYPT_ROUNDS} or more"
        )
    return problems


def weakness(secret: str) -> str | None:
    """Why a secret of sufficient length can be guessed, or None."""
    if len(set(secret)) < _MIN_DISTINCT_CHARACTERS:
        return "has too few different characters"
    if any(secret.startswith(secret[period:]) for period in range(1, len(secret) // 2 + 1)):
        return "repeats itself"
    steps = [ord(after) - ord(before) for before, after in itertools.pairwise(secret)]
    if sum(step in {-1, 0, 1} for step in steps) > len(steps) / 2:
        return "follows the alphabet"
    if _KNOWN_WORDS.search(re.sub(r"[\W_]", "", secret.casefold())):
        return "is a well-known value or an example"
    return None


def _secret_problems(settings: Settings) -> list[str]:
    problems = []
    if settings.secret_key is None:
        problems.append("AUTHAPI_SECRET_KEY: is missing; make one with: openssl rand -base64 48")
    for name, secret in (
        ("AUTHAPI_SECRET_KEY", settings.secret_key),
        ("AUTHAPI_ACCESS_TOKEN__SECRET", settings.access_token.secret),
    ):
        reason = weakness(secret.get_secret_value()) if secret else None
        if reason:
            problems.append(f"{name}: {reason}; make another with: openssl rand -base64 48")
    return problems


def _address_problems(settings: Settings) -> list[str]:
    problems = []
    if settings.public_url is None:
        problems.append("AUTHAPI_PUBLIC_URL: is missing; set it to the https:// address that users see")
    elif urlsplit(settings.public_url).scheme != "https":
        problems.append("AUTHAPI_PUBLIC_URL: is not encrypted; use https://")
    if "*" in settings.cors.allowed_origins:
        problems.append(
            "AUTHAPI_CORS__ALLOWED_ORIGINS: * lets every web page use the service; name the origins"
        )
    return problems


def _limit_problems(settings: Settings, *, workers: int) -> list[str]:
    if not settings.rate_limit.enabled:
        return ["AUTHAPI_RATE_LIMIT__ENABLED: without limits passwords can be guessed; set it to true"]
    if workers > 1 and settings.rate_limit.storage_url.startswith("memory:"):
        return [
            f"AUTHAPI_RATE_LIMIT__STORAGE_URL: {workers} workers that each count alone allow {workers} times "
            "as much; use redis://… or --workers 1"
        ]
    return []


def _mail_problems(settings: Settings) -> list[str]:
    problems = []
    parts = urlsplit(settings.mail.url)
    if parts.scheme in {"console", "file"}:
        problems.append(
            f"AUTHAPI_MAIL__URL: {parts.scheme}:// reaches nobody; use smtps:// or smtp+starttls://"
        )
    elif parts.scheme == "smtp" and not _is_loopback(parts.hostname or ""):
        problems.append(
            "AUTHAPI_MAIL__URL: smtp:// sends links and the password in the clear; use smtps:// or "
            "smtp+starttls://"
        )
    if parseaddr(settings.mail.sender)[1].rpartition("@")[2] == "localhost":
        problems.append("AUTHAPI_MAIL__FROM: nobody accepts mail from localhost; set an address of yours")
    return problems


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
