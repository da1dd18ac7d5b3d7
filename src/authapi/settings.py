"""The settings of authapi, read from the environment once; `setting_groups` has what each of them means.

Variables carry the prefix `AUTHAPI_`, groups are separated by `__`: `AUTHAPI_DATABASE__URL`. Any of them can
also come from a file named by the same variable with `_FILE` appended. In development a `.env` file is read
too. Durations are seconds or a number with a unit: `30s`, `15m`, `1h`, `30d`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from authapi.enums import Environment, RegistrationMode
from authapi.setting_groups import (
    AccessTokenSettings,
    AccountSettings,
    AdminSettings,
    AuditSettings,
    CorsSettings,
    DatabaseSettings,
    DocsSettings,
    EmailSettings,
    LogSettings,
    MailSettings,
    MetricsSettings,
    OneTimeTokenSettings,
    PagesSettings,
    PasswordSettings,
    ProxySettings,
    RateLimitSettings,
    RefreshTokenSettings,
    RegistrationSettings,
    RevocationSettings,
    SessionSettings,
    SettingGroup,
)
from authapi.setting_types import Origin, StrongSecret, split_list

PREFIX = "AUTHAPI_"
# Read by the test session, or injected by Kubernetes when a Service is called "authapi".
FOREIGN_PREFIXES = ("AUTHAPI_TEST_", "AUTHAPI_REQUIRE_", "AUTHAPI_SERVICE_", "AUTHAPI_PORT")


class InvalidSettings(Exception):
    """The environment does not describe a service; `problems` has one line for each wrong variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


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
        if isinstance(field.annotation, type) and issubclass(field.annotation, SettingGroup):
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
