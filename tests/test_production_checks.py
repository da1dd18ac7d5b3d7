from typing import Any

import pytest

from authapi.production_checks import production_problems, weakness
from authapi.settings import Settings
from tests.support.command import forget_settings

STRONG = "Vq0k5mYtT1zR8sN3bE7wXc2LpJ9hUgAf"
POSTGRESQL = {"url": "postgresql://authapi@db.example.org/authapi"}
REDIS = {"storage_url": "redis://cache.example.org"}


def problems(*, workers: int = 1, **overrides: Any) -> list[str]:
    """The problems of settings that are safe but for the overrides."""
    values: dict[str, Any] = {
        "environment": "production",
        "secret_key": STRONG,
        "public_url": "https://auth.example.org",
        **overrides,
        "mail": {"url": "smtps://mail.example.org", "from": "no-reply@example.org"}
        | overrides.get("mail", {}),
    }
    return production_problems(Settings(**values), workers=workers)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch)


class TestProductionProblems:
    def test_safe_settings(self) -> None:
        assert problems() == []

    @pytest.mark.parametrize(
        ("overrides", "variable"),
        [
            ({"secret_key": None}, "AUTHAPI_SECRET_KEY"),
            ({"secret_key": "changeme" * 8}, "AUTHAPI_SECRET_KEY"),
            (
                {"access_token": {"algorithm": "HS256", "secret": "a-string-secret-at-least-256-bits-long"}},
                "AUTHAPI_ACCESS_TOKEN__SECRET",
            ),
            ({"public_url": None}, "AUTHAPI_PUBLIC_URL"),
            ({"public_url": "http://auth.example.org"}, "AUTHAPI_PUBLIC_URL"),
            ({"cors": {"allowed_origins": "https://a.example.org, *"}}, "AUTHAPI_CORS__ALLOWED_ORIGINS"),
            ({"rate_limit": {"enabled": False}}, "AUTHAPI_RATE_LIMIT__ENABLED"),
            ({"password": {"bcrypt_rounds": 9}}, "AUTHAPI_PASSWORD__BCRYPT_ROUNDS"),
            ({"mail": {"url": "console://"}}, "AUTHAPI_MAIL__URL"),
            ({"mail": {"url": "file:///var/mail"}}, "AUTHAPI_MAIL__URL"),
            ({"mail": {"url": "smtp://mail.example.org"}}, "AUTHAPI_MAIL__URL"),
            ({"mail": {"url": "smtp://127.0.0.1.example.org"}}, "AUTHAPI_MAIL__URL"),
            ({"mail": {"from": "authapi <no-reply@localhost>"}}, "AUTHAPI_MAIL__FROM"),
            ({"workers": 2, "rate_limit": REDIS}, "AUTHAPI_DATABASE__URL"),
            ({"workers": 2, "database": POSTGRESQL}, "AUTHAPI_RATE_LIMIT__STORAGE_URL"),
        ],
    )
    def test_each_is_named_alone(self, overrides: dict[str, Any], variable: str) -> None:
        (problem,) = problems(**overrides)
        assert problem.startswith(f"{variable}: ")

    @pytest.mark.parametrize(
        "overrides",
        [
            {"workers": 4, "rate_limit": REDIS, "database": POSTGRESQL},
            {"password": {"bcrypt_rounds": 10, "pepper": "fourteen bytes"}},
            {"cors": {"allowed_origins": "https://app.example.org"}},
            {"mail": {"url": "smtp://localhost:2525"}},
            {"mail": {"url": "smtp://[::1]"}},
            {"mail": {"url": "smtp+starttls://user:pw@mail.example.org:587"}},
        ],
    )
    def test_what_is_fine(self, overrides: dict[str, Any]) -> None:
        assert problems(**overrides) == []

    def test_all_are_named_at_once(self) -> None:
        found = problems(workers=2, secret_key=None, public_url=None, password={"bcrypt_rounds": 4})
        assert len(found) == 5

    def test_secrets_are_not_shown(self) -> None:
        secret = "my-very-own-supersecret-value-0815-4711"
        assert secret not in "".join(problems(secret_key=secret))


class TestWeakness:
    @pytest.mark.parametrize(
        "secret",
        [
            "a" * 64,
            "abcabcabcabcabcabcabcabcabcabcabc",
            "0123456789abcdef0123456789abcdef0123",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "Zk8Qw3Rt6Yp1Zk8Qw3Rt6Yp1Zk8Qw3Rt6Yp1",
            "CHANGE_ME_change_me_CHANGE_ME_now_please",
            "your-256-bit-secret-your-other-secret",
            "django-insecure-0v8f3k2l9s7d6h5g4j1q",
            "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        ],
    )
    def test_what_can_be_guessed(self, secret: str) -> None:
        assert len(secret) >= 32
        assert weakness(secret) is not None

    @pytest.mark.parametrize(
        "secret",
        [
            STRONG,
            "4d5a8f0b1c7e93262f6a0d9be81c5473",
            "xLr8Yx3Jm0Zq7N1dT5wUeKc9sV2hPgBfAi6oQyRkMtWnEjCzDlGpHuSvXb4OFIaY",
        ],
    )
    def test_random_secrets(self, secret: str) -> None:
        assert weakness(secret) is None
