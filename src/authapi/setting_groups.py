"""The groups of settings: what each variable means, what it may hold, and its default.

`settings.py` says how they are read.
"""

import os
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FilePath, SecretStr, model_validator

from authapi.enums import PasswordPolicy, RegistrationMode, SigningAlgorithm
from authapi.setting_types import (
    DatabaseUrl,
    Duration,
    MailSender,
    MailUrl,
    Networks,
    Origin,
    ProxyNetworks,
    StrongSecret,
    WebAddress,
    WebOrigins,
    split_list,
)


class SettingGroup(BaseModel):
    """Base of the groups: immutable, and unknown variables are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


class DatabaseSettings(SettingGroup):
    # Not shown: it may hold a password.
    url: DatabaseUrl | None = Field(None, repr=False, description="SQLite in the data directory unless set")
    pool_size: int = Field(10, ge=1, le=500, description="connections a worker may hold")
    timeout: Duration = Field(timedelta(seconds=2), description="longest wait for a statement")
    pgbouncer: bool = Field(False, description="the URL leads to PgBouncer in transaction mode")


class AccessTokenSettings(SettingGroup):
    algorithm: SigningAlgorithm = Field(SigningAlgorithm.ES256, description="ES256, RS256 or HS256")
    secret: StrongSecret | None = Field(None, description="shared secret of HS256, at least 32 bytes")
    lifetime: Duration = Field(timedelta(hours=1), description="how long an access token is valid")
    issuer: Origin | None = Field(None, description="`iss` claim; the public URL unless set")
    audience: str = Field("authapi", min_length=1, max_length=200, description="`aud` claim")
    key_lifetime: Duration = Field(
        timedelta(days=90), description="age at which a signing key is replaced; HS256 is never replaced"
    )

    @model_validator(mode="after")
    def _secret_for_hs256(self) -> Self:
        if self.algorithm is SigningAlgorithm.HS256 and self.secret is None:
            raise ValueError("HS256 needs AUTHAPI_ACCESS_TOKEN__SECRET of at least 32 bytes")
        return self


class RefreshTokenSettings(SettingGroup):
    lifetime: Duration = Field(timedelta(days=30), description="how long a login lasts at most")
    idle_lifetime: Duration = Field(
        timedelta(days=14), description="how long a login lasts without a refresh"
    )
    grace: Duration = Field(
        timedelta(seconds=30), description="how long the previous refresh token still gets the current pair"
    )


class SessionSettings(SettingGroup):
    max_per_user: int = Field(
        100, ge=1, le=10_000, description="logins a user may have; the oldest ends first"
    )


class RevocationSettings(SettingGroup):
    max_staleness: Duration = Field(
        timedelta(seconds=5), description="how long a worker serves without following revocations; then 503"
    )


class PasswordSettings(SettingGroup):
    bcrypt_rounds: int = Field(12, ge=4, le=31, description="cost of a hash; production needs 10 or more")
    policy: PasswordPolicy = Field(PasswordPolicy.CLASSIC, description="classic or nist")
    pepper: SecretStr | None = Field(None, description="secret mixed into every hash, at least 14 bytes")
    pepper_previous: Annotated[list[SecretStr], BeforeValidator(split_list)] = Field(
        [], description="peppers that still verify, comma-separated"
    )
    breach_url: WebAddress | None = Field(
        None,
        description="range API of breached passwords, e.g. https://api.pwnedpasswords.com/range; off unless set",
    )
    breach_file: FilePath | None = Field(
        None, description="sorted file of SHA-1 digests of breached passwords"
    )
    hash_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=256, description="hashing threads per process"
    )
    hash_queue: int = Field(
        32, ge=1, le=10_000, description="passwords that may wait for a hashing thread, per process"
    )

    @model_validator(mode="after")
    def _long_peppers(self) -> Self:
        peppers = [self.pepper] if self.pepper else []
        if any(len(p.get_secret_value().encode()) < 14 for p in [*peppers, *self.pepper_previous]):
            raise ValueError("a pepper must be at least 14 bytes")
        return self


class RateLimitSettings(SettingGroup):
    enabled: bool = Field(True, description="production refuses to start without limits")
    storage_url: str = Field(
        "memory://", repr=False, description="memory:// or redis://…; share Redis between workers"
    )
    auth: str = Field("5/minute", description="register, login and whatever else takes a password")
    refresh: str = Field("60/minute", description="token refresh")
    search: str = Field("20/minute", description="public search")
    public: str = Field("100/minute", description="other routes without a credential")
    user: str = Field("300/minute", description="routes with a user's token, per user")
    admin: str = Field("300/minute", description="admin routes, per user")
    service: str = Field("", description="health and service-to-service routes; empty means no limit")


class MailSettings(SettingGroup):
    url: MailUrl = Field(
        "console://",
        repr=False,
        description="console://, file:///dir, smtp://, smtp+starttls:// or smtps://user:pw@host",
    )
    sender: MailSender = Field(
        "authapi <no-reply@localhost>",
        alias="from",
        min_length=3,
        max_length=320,
        description="From: of every mail",
    )
    timeout: Duration = Field(timedelta(seconds=10), description="longest wait for the SMTP server")
    max_per_hour: int = Field(5, ge=1, le=1000, description="mails of a kind that an address gets in an hour")


class OneTimeTokenSettings(SettingGroup):
    verify_lifetime: Duration = Field(timedelta(hours=24), description="link to verify an e-mail")
    reset_lifetime: Duration = Field(timedelta(minutes=30), description="link to reset a password")
    change_lifetime: Duration = Field(timedelta(hours=1), description="link to confirm a new e-mail")
    undo_lifetime: Duration = Field(timedelta(days=7), description="link to undo a change of e-mail")
    invitation_lifetime: Duration = Field(timedelta(days=7), description="link to accept an invitation")


class AccountSettings(SettingGroup):
    deletion_grace: Duration = Field(
        timedelta(days=30), description="how long a deleted account can be brought back before it is erased"
    )


class AuditSettings(SettingGroup):
    retention: Duration = Field(timedelta(days=400), description="how long security events are kept")


class RegistrationSettings(SettingGroup):
    mode: RegistrationMode = Field(
        RegistrationMode.OPEN,
        description="open, verify_first (tells nobody which addresses are taken) or closed",
    )
    unverified_login: bool = Field(
        True, description="log in before the e-mail is verified; never with verify_first"
    )


class PagesSettings(SettingGroup):
    return_url: WebAddress | None = Field(
        None, description="your app, linked from the pages that authapi's mails lead to"
    )


class AdminSettings(SettingGroup):
    allowed_ips: Networks = Field([], description="networks that may call /api/admin; empty means any")


class CorsSettings(SettingGroup):
    allowed_origins: WebOrigins = Field(
        [], description="origins (scheme://host[:port]) of browser apps; development adds localhost"
    )


class ProxySettings(SettingGroup):
    trusted: ProxyNetworks = Field([], description="networks of reverse proxies whose X-Forwarded-For counts")


class LogSettings(SettingGroup):
    format: Literal["auto", "json", "console"] = Field("auto", description="auto, json or console")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )


class MetricsSettings(SettingGroup):
    allowed_ips: Networks = Field(
        [], description="networks that may read /metrics; empty: in production the same machine only"
    )


class DocsSettings(SettingGroup):
    enabled: bool | None = Field(
        None, description="/docs, /redoc, /openapi.json; production: off unless true"
    )


class EmailSettings(SettingGroup):
    allow_special_domains: bool = Field(
        False, description="accept .test, .local and localhost addresses, for closed networks"
    )
