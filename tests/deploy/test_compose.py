"""The compose files: pinned, healthy, without default passwords, and describing a configuration that starts."""

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from authapi import __version__
from tests.deploy.manifests import DEPLOY, SECRETS, problems_in_production, read_documents, unknown_settings

COMPOSE = read_documents(DEPLOY / "compose.yaml")[0]
TRIAL = read_documents(DEPLOY / "compose.trial.yaml")[0]
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BY_HAND = {"DOMAIN": "auth.example.com", "MAIL_FROM": "no-reply@example.com"}


def interpolate(text: str) -> str:
    """Fill in ${NAME}, as compose does; one with a default would be a value nobody chose."""
    assert not re.search(r"\$\{\w+:?-", text), f"{text} has a default"
    return re.sub(r"\$\{(\w+)(:\?[^}]*)?\}", lambda match: BY_HAND[match[1]], text)


def networks(name: str) -> set[str]:
    return set(SERVICES[name]["networks"])


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that make-secrets.sh writes."""
    folder = tmp_path_factory.mktemp("deploy")
    script = folder / "make-secrets.sh"
    script.write_text((DEPLOY / "make-secrets.sh").read_text())
    script.chmod(0o700)
    subprocess.run([str(script), "smtps://mail.example.com"], check=True, capture_output=True)
    return folder / "secrets"


class TestServices:
    @pytest.mark.parametrize("name", [*SERVICES, "mailpit"])
    def test_is_pinned_watched_and_confined(self, name: str) -> None:
        service = SERVICES.get(name) or TRIAL["services"][name]
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service["image"]), "pin a version"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
        assert "/var/run/docker.sock" not in str(service.get("volumes"))
        if name == "migrate":
            assert service["healthcheck"] == {"disable": True}
            assert service["restart"] == "no"
        else:
            assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
            assert service["restart"] == "unless-stopped"

    def test_the_image_is_this_release(self) -> None:
        assert SERVICES["authapi"]["image"] == SERVICES["migrate"]["image"] == f"authapi:{__version__}"

    def test_they_start_in_order(self) -> None:
        assert SERVICES["caddy"]["depends_on"] == {"authapi": {"condition": "service_healthy"}}
        assert SERVICES["authapi"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}

    def test_the_stop_leaves_time_to_finish(self) -> None:
        assert int(SERVICES["authapi"]["stop_grace_period"].removesuffix("s")) > 8 + 3


class TestNetworks:
    def test_the_proxy_does_not_reach_the_data(self) -> None:
        assert networks("caddy") == {"edge"}
        for name in ("postgres", "valkey", "migrate"):
            assert networks(name) == {"data"}
        assert networks("authapi") == {"edge", "data"}
        assert COMPOSE["networks"]["data"] == {"internal": True}

    def test_only_the_proxy_listens_to_the_outside(self) -> None:
        assert [name for name, service in SERVICES.items() if "ports" in service] == ["caddy"]
        for service in TRIAL["services"].values():
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))

    def test_the_trusted_proxies_are_the_proxys_network(self) -> None:
        (subnet,) = COMPOSE["networks"]["edge"]["ipam"]["config"]
        assert SERVICES["authapi"]["environment"]["AUTHAPI_PROXY__TRUSTED"] == subnet["subnet"]


class TestSecrets:
    def test_none_stands_in_the_files(self) -> None:
        for path in DEPLOY.rglob("*"):
            if path.is_file() and "secrets" not in path.parent.name:
                text = path.read_text()
                assert not re.search(r"(?i)(password|secret|token)\w*[=:] *['\"]?[0-9a-z]{16,}", text), path
        for name, service in SERVICES.items():
            for variable, value in service.get("environment", {}).items():
                if re.search(r"PASSWORD(?!_|.*FILE)|SECRET_KEY$|URL$", variable):
                    assert value == f"https://{BY_HAND['DOMAIN']}" or interpolate(value).startswith(
                        "https://"
                    ), f"{name}: {variable} belongs into a file"

    def test_each_service_gets_its_own_only(self) -> None:
        given = {name: set(service.get("secrets", [])) for name, service in SERVICES.items()}
        assert given == {
            "caddy": set(),
            "authapi": {"secret_key", "database_url", "rate_limit_url", "mail_url"},
            "migrate": {"database_owner_url"},
            "postgres": {"database_owner_password", "database_password"},
            "valkey": {"valkey_conf"},
        }
        used = {secret for secrets in given.values() for secret in secrets}
        assert used == COMPOSE["secrets"].keys()

    def test_the_script_writes_what_compose_mounts(self, secrets: Path) -> None:
        assert {path.name for path in secrets.iterdir()} == COMPOSE["secrets"].keys()
        for name, secret in COMPOSE["secrets"].items():
            assert secret["file"] == f"./secrets/{name}"
        assert stat.S_IMODE(secrets.stat().st_mode) == 0o700

    def test_the_script_changes_nothing_that_exists(self, secrets: Path) -> None:
        before = (secrets / "secret_key").read_text()
        script = secrets.parent / "make-secrets.sh"
        again = subprocess.run([str(script), "smtp://x"], check=False, capture_output=True)
        assert again.returncode == 1
        assert (secrets / "secret_key").read_text() == before

    def test_passwords_fit_together_and_are_all_different(self, secrets: Path) -> None:
        def read(name: str) -> str:
            return (secrets / name).read_text().strip()

        assert f":{read('database_password')}@postgres" in read("database_url")
        assert f":{read('database_owner_password')}@postgres" in read("database_owner_url")
        valkey = re.search(r"requirepass (\w+)", read("valkey_conf"))
        assert valkey is not None
        assert f":{valkey[1]}@valkey" in read("rate_limit_url")
        chosen = {read("secret_key"), read("database_password"), read("database_owner_password"), valkey[1]}
        assert len(chosen) == 4
        assert min(map(len, chosen)) >= 64


class TestConfiguration:
    def test_every_variable_is_a_setting(self) -> None:
        for services in (SERVICES, TRIAL["services"]):
            for service in services.values():
                assert unknown_settings(service.get("environment", {})) == set()

    def test_production_starts(self, secrets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        variables = {
            name: interpolate(value).replace("/run/secrets", str(secrets))
            for name, value in SERVICES["authapi"]["environment"].items()
        }
        assert problems_in_production(monkeypatch, variables, workers=2) == []

    def test_the_trial_starts_too(self, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        trial = TRIAL["services"]
        # Plain SMTP is allowed to the own machine only, which is why they share a network namespace.
        assert trial["mailpit"]["network_mode"] == "service:authapi"
        url = f"smtp://{trial['mailpit']['environment']['MP_SMTP_BIND_ADDR']}"
        assert url in (DEPLOY / "compose.trial.yaml").read_text()
        variables = SECRETS | {"AUTHAPI_MAIL__URL": url, **trial["authapi"]["environment"]}
        variables |= {"AUTHAPI_ENVIRONMENT": "production", "AUTHAPI_PUBLIC_URL": "https://localhost"}
        variables |= {"AUTHAPI_MAIL__FROM": BY_HAND["MAIL_FROM"]}
        assert problems_in_production(monkeypatch, variables, workers=1) == []


class TestCaddyfile:
    def test_it_passes_on_to_the_service_and_keeps_operations_inside(self) -> None:
        text = (DEPLOY / "Caddyfile").read_text()
        assert "reverse_proxy authapi:5001" in text
        assert "@internal path /metrics /health/*" in text
        assert "admin off" in text
        assert text.count("{") == text.count("}")
        assert not re.search(r"^\s*encode", text, re.MULTILINE), "compressed tokens leak through their length"
