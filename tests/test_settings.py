import os
from datetime import timedelta
from pathlib import Path

import pytest

from authapi.enums import Environment, SigningAlgorithm
from authapi.setting_types import parse_duration
from authapi.settings import InvalidSettings, Settings, load_settings, setting_fields
from tests.support.command import forget_settings

SECRET = "Vq0k5mYtT1zR8sN3bE7wXc2LpJ9hUgAf"


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch)
    monkeypatch.chdir(tmp_path)


def load(**variables: str) -> Settings:
    """The settings of an environment; names go without prefix."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(f"AUTHAPI_{name}", value)
        return load_settings()


def refusal(**variables: str) -> list[str]:
    """The problems of an environment."""
    with pytest.raises(InvalidSettings) as caught:
        load(**variables)
    return caught.value.problems


class TestSources:
    def test_defaults(self) -> None:
        settings = load()
        assert settings.environment is Environment.DEVELOPMENT
        assert settings.base_url == settings.issuer == "http://127.0.0.1:5001"
        assert settings.database_url == "sqlite+aiosqlite:///.authapi/authapi.sqlite3"
        assert settings.access_token.algorithm is SigningAlgorithm.ES256
        assert settings.docs_enabled
        assert not settings.is_https

    def test_groups_are_separated_by_two_underscores(self) -> None:
        settings = load(DATABASE__POOL_SIZE="7", RATE_LIMIT__AUTH="3/minute")
        assert settings.database.pool_size == 7
        assert settings.rate_limit.auth == "3/minute"

    def test_an_empty_variable_counts_as_absent(self) -> None:
        assert load(PUBLIC_URL="", RATE_LIMIT__AUTH="  ") == load()

    def test_an_unknown_variable_is_refused(self) -> None:
        assert refusal(DATABSE__URL="sqlite:///x", RATE_LIMIT__AUHT="1/minute") == [
            "AUTHAPI_DATABSE__URL: there is no such setting; check the spelling against the README",
            "AUTHAPI_RATE_LIMIT__AUHT: there is no such setting; check the spelling against the README",
        ]

    def test_a_whole_group_is_no_variable(self) -> None:
        assert refusal(DATABASE='{"pool_size": 3}')[0].startswith("AUTHAPI_DATABASE: there is no such")

    def test_variables_of_a_kubernetes_service_are_ignored(self) -> None:
        kubernetes = {
            "SERVICE_HOST": "10.0.0.7",
            "SERVICE_PORT": "5001",
            "SERVICE_PORT_HTTP": "5001",
            "PORT": "tcp://10.0.0.7:5001",
            "PORT_5001_TCP": "tcp://10.0.0.7:5001",
            "PORT_5001_TCP_ADDR": "10.0.0.7",
        }
        assert load(**kubernetes) == load()

    def test_every_setting_is_described(self) -> None:
        assert all(field.description for field in setting_fields().values())


class TestFiles:
    def test_a_secret_is_read_from_a_file_without_its_line_break(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(f"{SECRET}\n")
        settings = load(SECRET_KEY_FILE=str(tmp_path / "secret"))
        assert settings.secret_key is not None
        assert settings.secret_key.get_secret_value() == SECRET

    def test_any_setting_can_come_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "url").write_text("postgres://ada:hunter2@db/accounts\n")
        settings = load(DATABASE__URL_FILE=str(tmp_path / "url"))
        assert settings.database_url == "postgresql+asyncpg://ada:hunter2@db/accounts"

    def test_both_the_variable_and_its_file(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(SECRET)
        (problem,) = refusal(SECRET_KEY=SECRET, SECRET_KEY_FILE=str(tmp_path / "secret"))
        assert (
            problem
            == "AUTHAPI_SECRET_KEY: set either AUTHAPI_SECRET_KEY or AUTHAPI_SECRET_KEY_FILE, not both"
        )

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        assert refusal(SECRET_KEY_FILE="/nonexistent/secret") == [
            "AUTHAPI_SECRET_KEY_FILE: cannot read the file (FileNotFoundError)"
        ]
        assert refusal(SECRET_KEY_FILE=str(tmp_path / "binary")) == [
            "AUTHAPI_SECRET_KEY_FILE: cannot read the file (UnicodeDecodeError)"
        ]

    def test_the_file_of_an_unknown_setting(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(SECRET)
        (problem,) = refusal(SECERT_KEY_FILE=str(tmp_path / "secret"))
        assert problem.startswith("AUTHAPI_SECERT_KEY: there is no such setting")


class TestDotenv:
    @pytest.fixture(autouse=True)
    def _dotenv(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text(
            "AUTHAPI_DATABASE__POOL_SIZE=3\nAUTHAPI_LOG__LEVEL=debug\nOTHER_PROGRAM=1\nAUTHAPI_PUBLIC_URL=\n"
        )

    def test_development_reads_it_below_the_environment(self) -> None:
        settings = load(LOG__LEVEL="error")
        assert settings.database.pool_size == 3
        assert settings.log.level == "error"
        assert settings.public_url is None

    def test_production_does_not(self) -> None:
        settings = load(ENVIRONMENT="production")
        assert settings.database.pool_size == 10
        assert settings.log.level == "info"

    def test_a_misspelt_name_in_it_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("AUTHAPI_PUBLIK_URL=http://127.0.0.1\n")
        assert refusal()[0].startswith("AUTHAPI_PUBLIK_URL: ")


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("90", 90),
            ("30s", 30),
            ("15m", 900),
            ("1h", 3600),
            ("30d", 2_592_000),
            ("1.5 H", 5400),
            ("0.5", 0.5),
        ],
    )
    def test_units(self, text: str, seconds: float) -> None:
        settings = load(ACCESS_TOKEN__LIFETIME=text)
        assert settings.access_token.lifetime == timedelta(seconds=seconds)

    @pytest.mark.parametrize(
        "text", ["0", "0s", "-1", "-5m", "soon", "1w", "1h30m", "P1D", "00:05:00", "1e3", "nan", "٣s٣"]
    )
    def test_what_is_none(self, text: str) -> None:
        (problem,) = refusal(ACCESS_TOKEN__LIFETIME=text)
        assert problem.startswith("AUTHAPI_ACCESS_TOKEN__LIFETIME: must be ")

    def test_numbers_are_seconds(self) -> None:
        assert parse_duration(90) == timedelta(seconds=90)
        assert parse_duration(True) is True


class TestValues:
    @pytest.mark.parametrize(
        ("given", "used"),
        [
            ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
            ("postgresql://u:p@h:5433/d?ssl=require", "postgresql+asyncpg://u:p@h:5433/d?ssl=require"),
            ("postgresql+asyncpg://u@h/d", "postgresql+asyncpg://u@h/d"),
            ("sqlite:///x.sqlite3", "sqlite+aiosqlite:///x.sqlite3"),
            ("sqlite+aiosqlite:////var/x.sqlite3", "sqlite+aiosqlite:////var/x.sqlite3"),
        ],
    )
    def test_database_urls(self, given: str, used: str) -> None:
        assert load(DATABASE__URL=given).database_url == used

    @pytest.mark.parametrize("url", ["mysql://h/d", "postgresql+psycopg://h/d", "db.example.org"])
    def test_other_databases(self, url: str) -> None:
        assert refusal(DATABASE__URL=url) == [
            "AUTHAPI_DATABASE__URL: must start with postgresql+asyncpg:// or sqlite+aiosqlite:///"
        ]

    def test_the_data_directory_holds_the_database(self) -> None:
        assert load(DATA_DIR="/var/lib/authapi").database_url == (
            "sqlite+aiosqlite:////var/lib/authapi/authapi.sqlite3"
        )

    def test_public_url(self) -> None:
        settings = load(PUBLIC_URL="HTTPS://Auth.Example.org:8443/")
        assert settings.base_url == settings.issuer == "https://auth.example.org:8443"
        assert settings.is_https
        assert load(
            PUBLIC_URL="https://a.example.org", ACCESS_TOKEN__ISSUER="https://b.example.org"
        ).issuer == ("https://b.example.org")

    @pytest.mark.parametrize(
        "url",
        [
            "auth.example.org",
            "ftp://auth.example.org",
            "https://",
            "https://auth.example.org/path",
            "https://auth.example.org?x=1",
            "https://user@auth.example.org",
        ],
    )
    def test_what_is_no_public_url(self, url: str) -> None:
        (problem,) = refusal(PUBLIC_URL=url)
        assert problem.startswith("AUTHAPI_PUBLIC_URL: must look like https://auth.example.com")

    def test_lists_are_separated_by_commas(self) -> None:
        settings = load(
            CORS__ALLOWED_ORIGINS="https://a.example.org , https://b.example.org,",
            PROXY__TRUSTED="10.0.0.0/8,fd00::/8",
            ADMIN__ALLOWED_IPS="192.0.2.7",
        )
        assert settings.cors.allowed_origins == ["https://a.example.org", "https://b.example.org"]
        assert [str(network) for network in settings.proxy.trusted] == ["10.0.0.0/8", "fd00::/8"]
        assert [str(network) for network in settings.admin.allowed_ips] == ["192.0.2.7/32"]

    @pytest.mark.parametrize("networks", ["*", "10.0.0.0/33", "example.org", "10.0.0.7/8"])
    def test_what_is_no_network(self, networks: str) -> None:
        (problem,) = refusal(PROXY__TRUSTED=networks)
        assert problem.startswith("AUTHAPI_PROXY__TRUSTED: ")

    @pytest.mark.parametrize("networks", ["0.0.0.0/0", "::/0", "10.0.0.0/8,0.0.0.0/0,::/0"])
    def test_not_everybody_is_a_proxy(self, networks: str) -> None:
        assert refusal(PROXY__TRUSTED=networks) == [
            "AUTHAPI_PROXY__TRUSTED: must not trust everybody; name the proxies' addresses"
        ]
        # Whom a list only lets in may be anybody.
        assert load(ADMIN__ALLOWED_IPS=networks, METRICS__ALLOWED_IPS=networks)

    @pytest.mark.parametrize(
        ("given", "used"),
        [
            ("*", "*"),
            ("HTTPS://App.Example.com/", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("capacitor://localhost", "capacitor://localhost"),
        ],
    )
    def test_origins_of_browser_apps(self, given: str, used: str) -> None:
        assert load(CORS__ALLOWED_ORIGINS=given).cors.allowed_origins == [used]

    @pytest.mark.parametrize(
        "origins",
        [
            "null",
            "https://*.example.com",
            "https://app.example.com/path",
            "https://app.example.com?x=1",
            "https://app.example.com#x",
            "https://ada@app.example.com",
            "https://bücher.example",
            "https://app.example.com:http",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://",
            "file:///",
            "app.example.com",
            "https://app.example.com,null,nonsense",
        ],
    )
    def test_what_no_browser_sends_as_origin(self, origins: str) -> None:
        assert refusal(CORS__ALLOWED_ORIGINS=origins) == [
            "AUTHAPI_CORS__ALLOWED_ORIGINS: an origin looks like https://app.example.com: scheme://host[:port], "
            "without a path, a wildcard or the port that the scheme has anyway"
        ]

    @pytest.mark.parametrize(
        ("variables", "variable"),
        [
            ({"ENVIRONMENT": "prod"}, "AUTHAPI_ENVIRONMENT"),
            ({"PASSWORD__BCRYPT_ROUNDS": "3"}, "AUTHAPI_PASSWORD__BCRYPT_ROUNDS"),
            ({"PASSWORD__BCRYPT_ROUNDS": "32"}, "AUTHAPI_PASSWORD__BCRYPT_ROUNDS"),
            ({"PASSWORD__POLICY": "weak"}, "AUTHAPI_PASSWORD__POLICY"),
            ({"RATE_LIMIT__ENABLED": "perhaps"}, "AUTHAPI_RATE_LIMIT__ENABLED"),
            ({"DATABASE__POOL_SIZE": "0"}, "AUTHAPI_DATABASE__POOL_SIZE"),
            ({"LOG__FORMAT": "xml"}, "AUTHAPI_LOG__FORMAT"),
            ({"ACCESS_TOKEN__ALGORITHM": "none"}, "AUTHAPI_ACCESS_TOKEN__ALGORITHM"),
            ({"ACCESS_TOKEN__ALGORITHM": "HS256"}, "AUTHAPI_ACCESS_TOKEN"),
        ],
    )
    def test_what_is_refused_is_named(self, variables: dict[str, str], variable: str) -> None:
        (problem,) = refusal(**variables)
        assert problem.startswith(f"{variable}: ")

    def test_every_wrong_variable_is_named_at_once(self) -> None:
        assert len(refusal(ENVIRONMENT="prod", LOG__LEVEL="chatty", PUBLIC_URL="x")) == 3


class TestSecrets:
    def test_secrets_are_measured_in_bytes(self) -> None:
        assert load(SECRET_KEY="ä" * 16).secret_key is not None
        (problem,) = refusal(SECRET_KEY="a" * 31)
        assert problem.startswith("AUTHAPI_SECRET_KEY: must be at least 32 bytes")

    def test_previous_secrets(self) -> None:
        previous = load(SECRET_KEY_PREVIOUS=f"{SECRET},{SECRET[::-1]}").secret_key_previous
        assert [secret.get_secret_value() for secret in previous] == [SECRET, SECRET[::-1]]
        assert refusal(SECRET_KEY_PREVIOUS=f"{SECRET},short")[0].startswith("AUTHAPI_SECRET_KEY_PREVIOUS: ")

    def test_peppers_have_fourteen_bytes(self) -> None:
        assert load(PASSWORD__PEPPER="fourteen bytes").password.pepper is not None
        assert "at least 14 bytes" in refusal(PASSWORD__PEPPER="thirteen byte")[0]
        assert "at least 14 bytes" in refusal(PASSWORD__PEPPER_PREVIOUS="fourteen bytes,short")[0]

    def test_they_are_never_shown(self) -> None:
        settings = load(
            SECRET_KEY=SECRET,
            SECRET_KEY_PREVIOUS=SECRET,
            ACCESS_TOKEN__ALGORITHM="HS256",
            ACCESS_TOKEN__SECRET=SECRET,
            PASSWORD__PEPPER=SECRET,
            PASSWORD__PEPPER_PREVIOUS=SECRET,
        )
        for shown in (repr(settings), str(settings), settings.model_dump_json()):
            assert SECRET not in shown

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("SECRET_KEY", "hunter2"),
            ("SECRET_KEY_PREVIOUS", "hunter2"),
            ("ACCESS_TOKEN__SECRET", "hunter2"),
            ("PASSWORD__PEPPER", "hunter2"),
            ("DATABASE__URL", "mysql://ada:hunter2@h/d"),
            ("PUBLIC_URL", "https://ada:hunter2@h"),
            ("HUNTER", "hunter2"),
        ],
    )
    def test_no_error_repeats_a_value(self, name: str, value: str) -> None:
        with pytest.raises(InvalidSettings) as caught:
            load(**{name: value})
        assert "hunter2" not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"

    def test_settings_cannot_be_changed(self) -> None:
        settings = load()
        with pytest.raises(ValueError, match="frozen"):
            settings.data_dir = Path("/elsewhere")  # type: ignore[misc]


def test_the_environment_itself_is_left_alone() -> None:
    before = dict(os.environ)
    load()
    assert dict(os.environ) == before
