"""Every setting of authapi, read from the environment once.

Variables carry the prefix `AUTHAPI_`, groups are separated by `__`: `AUTHAPI_DATABASE__URL`. Any of them can
also come from a file named by the same variable with `_FILE` appended. In development a `.env` file is read
too. Durations are seconds or a number with a unit: `30s`, `15m`, `1h`, `30d`.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from authapi.enums import Environment, PasswordPolicy, RegistrationMode, SigningAlgorithm
from authapi.setting_types import (
    DatabaseUrl,
    Duration,
    MailSender,
    MailUrl,
    Networks,
    Origin,
    StrongSecret,
    WebAddress,
    split_list,
)

PREFIX = "AUTHAPI_"
# Read by the test session, or injected by Kubernetes when a Service is called "authapi".
FOREIGN_PREFIXES = ("AUTHAPI_TEST_", "AUTHAPI_REQUIRE_", "AUTHAPI_SERVICE_", "AUTHAPI_PORT")


class InvalidSettings(Exception):
    """The environment does not describe a service; `problems` has one line for each wrong variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


class DatabaseSettings(_Group):
    # Not shown: it may hold a password.
    url: DatabaseUrl | None = Field(None, repr=False, description="SQLite in the data directory unless set")
    pool_size: int = Field(10, ge=1, le=500, description="connections a worker may hold")
    timeout: Duration = Field(timedelta(seconds=2), description="longest wait for a statement")
    pgbouncer: bool = Field(False, description="the URL leads to PgBouncer in transaction mode")


class AccessTokenSettings(_Group):
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


class RefreshTokenSettings(_Group):
    lifetime: Duration = Field(timedelta(days=30), description="how long a login lasts at most")
    idle_lifetime: Duration = Field(
        timedelta(days=14), description="how long a login lasts without a refresh"
    )
    grace: Duration = Field(
        timedelta(seconds=30), description="how long the previous refresh token still gets the current pair"
    )


class SessionSettings(_Group):
    max_per_user: int = Field(
        100, ge=1, le=10_000, description="logins a user may have; the oldest ends first"
    )


class RevocationSettings(_Group):
    max_staleness: Duration = Field(
        timedelta(seconds=5), description="how long a worker serves without following revocations; then 503"
    )


class PasswordSettings(_Group):
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
    breach_file: Path | None = Field(None, description="sorted file of SHA-1 digests of breached passwords")
    hash_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=256, description="hashing threads; the cores"
    )
    hash_queue: int = Field(32, ge=1, le=10_000, description="password checks that may wait, per worker")

    @model_validator(mode="after")
    def _long_peppers(self) -> Self:
        peppers = [self.pepper] if self.pepper else []
        if any(len(p.get_secret_value().encode()) < 14 for p in [*peppers, *self.pepper_previous]):
            raise ValueError("a pepper must be at least 14 bytes")
        return self


class RateLimitSettings(_Group):
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


class MailSettings(_Group):
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


class OneTimeTokenSettings(_Group):
    verify_lifetime: Duration = Field(timedelta(hours=24), description="link to verify an e-mail")
    reset_lifetime: Duration = Field(timedelta(minutes=30), description="link to reset a password")
    change_lifetime: Duration = Field(timedelta(hours=1), description="link to confirm a new e-mail")
    undo_lifetime: Duration = Field(timedelta(days=7), description="link to undo a change of e-mail")
    invitation_lifetime: Duration = Field(timedelta(days=7), description="link to accept an invitation")


class AccountSettings(_Group):
    deletion_grace: Duration = Field(
        timedelta(days=30), description="how long a deleted account can be brought back before it is erased"
    )


class AuditSettings(_Group):
    retention: Duration = Field(timedelta(days=400), description="how long security events are kept")


class RegistrationSettings(_Group):
    mode: RegistrationMode = Field(
        RegistrationMode.OPEN,
        description="open, verify_first (tells nobody which addresses are taken) or closed",
    )
    unverified_login: bool = Field(
        True, description="log in before the e-mail is verified; never with verify_first"
    )


class PagesSettings(_Group):
    return_url: WebAddress | None = Field(
        None, description="your app, linked from the pages that authapi's mails lead to"
    )


class AdminSettings(_Group):
    allowed_ips: Networks = Field([], description="networks that may call /api/admin; empty means any")


class CorsSettings(_Group):
    allowed_origins: Annotated[list[str], BeforeValidator(split_list)] = Field(
        [], description="origins of browser apps; development adds localhost"
    )


class ProxySettings(_Group):
    trusted: Networks = Field([], description="networks of reverse proxies whose X-Forwarded-For counts")


class LogSettings(_Group):
    format: Literal["auto", "json", "console"] = Field("auto", description="auto, json or console")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )


class MetricsSettings(_Group):
    allowed_ips: Networks = Field(
        [], description="networks that may read /metrics; empty: in production the same machine only"
    )


class DocsSettings(_Group):
    enabled: bool | None = Field(
        None, description="/docs, /redoc, /openapi.json; production: off unless true"
    )


class EmailSettings(_Group):
    allow_special_domains: bool = Field(
        False, description="accept .test, .local and localhost addresses, for closed networks"
    )


class Settings(BaseSettings):
    """The whole configuration; immutable, and safe to print because secrets mask themselves."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    environment: Environment = Field(Environment.DEVELOPMENT, description="development or production")
    data_dir: Path = Field(Path(".authapi"), description="generated keys and the SQLite file")
    secret_key: StrongSecret | None = Field(
        None, description="at least 32 bytes; every internal key is derived from it; development makes one"
    )
    secret_key_previous: Annotated[list[StrongSecret], BeforeValidator(split_list)] = Field(
        [], description="older secret keys that still read, comma-separated"
    )
    public_url: Origin | None = Field(None, description="where users reach the service; production needs it")
    database: DatabaseSettings = DatabaseSettings()
    access_token: AccessTokenSettings = AccessTokenSettings()
    refresh_token: RefreshTokenSettings = RefreshTokenSettings()
    session: SessionSettings = SessionSettings()
    revocation: RevocationSettings = RevocationSettings()
    password: PasswordSettings = PasswordSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    registration: RegistrationSettings = RegistrationSettings()
    mail: MailSettings = MailSettings()
    one_time_token: OneTimeTokenSettings = OneTimeTokenSettings()
    account: AccountSettings = AccountSettings()
    pages: PagesSettings = PagesSettings()
    audit: AuditSettings = AuditSettings()
    email: EmailSettings = EmailSettings()
    admin: AdminSettings = AdminSettings()
    cors: CorsSettings = CorsSettings()
    proxy: ProxySettings = ProxySettings()
    docs: DocsSettings = DocsSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment as `_Environment` sees it, and nothing else."""
        return init_settings, _Environment(settings_cls)

    @property
    def is_production(self) -> bool:
        return self.environment is Environment.PRODUCTION

    @property
    def database_url(self) -> str:
        """The URL to connect to, with the SQLite file of the data directory as the default."""
        return self.database.url or f"sqlite+aiosqlite:///{self.data_dir / 'authapi.sqlite3'}"

    @property
    def base_url(self) -> str:
        return self.public_url or "http://127.0.0.1:5001"

    @property
    def issuer(self) -> str:
        return self.access_token.issuer or self.base_url

    @property
    def is_https(self) -> bool:
        return self.base_url.startswith("https://")

    @property
    def allows_unverified_login(self) -> bool:
        registration = self.registration
        return registration.unverified_login and registration.mode is not RegistrationMode.VERIFY_FIRST

    @property
    def docs_enabled(self) -> bool:
        return not self.is_production if self.docs.enabled is None else self.docs.enabled


class _Environment(EnvSettingsSource):
    """The process's environment, with `.env` below it in development and `X_FILE` read into `X`."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in _read_variables().items()}


def load_settings() -> Settings:
    """Read the settings from the environment and, in development, from `.env`.

    Raises `InvalidSettings` with one line per wrong, unknown or unreadable variable; values are never shown.
    """
    # A misspelt variable would silently leave its default in force, for instance a limit.
    unknown = sorted(_read_variables().keys() - setting_fields().keys())
    if unknown:
        raise InvalidSettings(
            [f"{name}: there is no such setting; check the spelling against the README" for name in unknown]
        )
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidSettings([_describe(item["loc"], item["msg"]) for item in error.errors()]) from None


def setting_fields() -> dict[str, FieldInfo]:
    """Every variable that authapi reads, by name, with its default and description."""
    fields: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Group):
            for leaf, leaf_field in field.annotation.model_fields.items():
                fields[f"{PREFIX}{name}__{leaf_field.alias or leaf}".upper()] = leaf_field
        else:
            fields[f"{PREFIX}{name}".upper()] = field
    return fields


def _read_variables() -> dict[str, str]:
    """Collect authapi's non-empty variables; `X_FILE` is replaced by `X` with the file's content."""
    variables = dict(os.environ)
    if variables.get(f"{PREFIX}ENVIRONMENT", "").strip().lower() != Environment.PRODUCTION:
        variables = {name: value for name, value in dotenv_values(".env").items() if value} | variables
    ours = {
        name: value
        for name, value in variables.items()
        if name.startswith(PREFIX) and not name.startswith(FOREIGN_PREFIXES) and value.strip()
    }
    for name in [name for name in ours if name.endswith("_FILE")]:
        target = name.removesuffix("_FILE")
        if target in ours:
            raise InvalidSettings([f"{target}: set either {target} or {name}, not both"])
        try:
            ours[target] = Path(ours.pop(name)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSettings([f"{name}: cannot read the file ({type(error).__name__})"]) from None
    return ours


def _describe(loc: tuple[int | str, ...], message: str) -> str:
    name = PREFIX + "__".join(str(part).upper() for part in loc if isinstance(part, str))
    return f"{name}: {message.removeprefix('Value error, ')}"
