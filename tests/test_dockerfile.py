"""What the image promises to whoever runs it, read from the Dockerfile: no engine is needed."""

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Stage:
    image: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        return [arguments for word, arguments in self.instructions if word == keyword]

    def one(self, keyword: str) -> str:
        (arguments,) = self.all(keyword)
        return arguments

    def command(self, keyword: str) -> list[str]:
        """Return the words of an instruction in its exec form; the shell form is no JSON and fails."""
        words = json.loads(self.one(keyword))
        assert isinstance(words, list)
        return words


def parse(dockerfile: str) -> list[Stage]:
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        keyword, arguments = line.split(None, 1)
        if keyword == "FROM":
            image, _, name = arguments.partition(" AS ")
            stages.append(Stage(image=image, name=name))
        else:
            stages[-1].instructions.append((keyword, arguments))
    return stages


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return parse((ROOT / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def final(stages: list[Stage]) -> Stage:
    return stages[-1]


@pytest.fixture
def health_server() -> Iterator[tuple[http.server.HTTPServer, list[int]]]:
    """An HTTP server that answers every request with the status in the list."""
    status = [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[0] if self.path == "/health/live" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server, status
        server.shutdown()
        thread.join()


class TestBuild:
    def test_every_stage_has_the_same_base_pinned_to_a_minor_version_and_a_distribution(
        self, stages: list[Stage]
    ) -> None:
        assert len(stages) == 2
        assert len({stage.image for stage in stages}) == 1
        assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", stages[0].image)

    def test_everything_that_is_downloaded_is_hashed(self, stages: list[Stage]) -> None:
        steps = [step.strip() for run in stages[0].all("RUN") for step in run.split("&&")]
        installs = [step for step in steps if " install " in step or " wheel " in step]
        assert len(installs) == 4
        for step in installs:
            locked = "--require-hashes" in step and ".lock" in step
            local = "--no-deps" in step and ("--no-index" in step or "--no-build-isolation" in step)
            assert locked or local, f"unpinned: {step}"

    def test_the_dev_lock_stays_outside(self) -> None:
        assert "requirements-dev.lock" not in (ROOT / "Dockerfile").read_text()

    def test_the_build_context_is_exactly_what_is_copied(self, stages: list[Stage]) -> None:
        copied = {source for line in stages[0].all("COPY") for source in line.split()[:-1]}
        rules = [
            line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"
        ]
        assert rules[0] == "*"
        assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
        for source in copied:
            assert (ROOT / source).exists(), source


class TestImage:
    def test_holds_neither_compiler_nor_pip(self, final: Stage) -> None:
        assert "pip uninstall --yes pip" in final.one("RUN")
        assert "ensurepip" in final.one("RUN")
        python = re.match(r"python:(3\.\d+)", final.image)
        assert python is not None
        assert f"/usr/local/lib/python{python[1]}/ensurepip" in final.one("RUN")
        assert "apt" not in final.one("RUN")
        assert final.all("COPY") == ["--from=build /opt/authapi /opt/authapi"]

    def test_runs_as_a_numbered_user_who_owns_only_the_data(self, final: Stage) -> None:
        assert final.one("USER") == "10001:10001"
        assert "-o 10001 -g 10001 -m 0700 /var/lib/authapi" in final.one("RUN")
        assert "--chown" not in final.one("COPY")
        words = [word for word, _ in final.instructions]
        assert words.index("USER") > max(words.index("RUN"), words.index("COPY"))

    def test_is_strict_and_writes_only_to_the_volume(self, final: Stage) -> None:
        environment = dict(pair.split("=", 1) for pair in final.one("ENV").split())
        assert environment["AUTHAPI_ENVIRONMENT"] == "production"
        assert environment["AUTHAPI_DATA_DIR"] == "/var/lib/authapi"
        assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
        assert environment["PATH"].startswith('"/opt/authapi/bin:')
        assert final.command("VOLUME") == ["/var/lib/authapi"]
        assert final.one("WORKDIR") == "/opt/authapi"

    def test_carries_no_secret(self, stages: list[Stage]) -> None:
        for stage in stages:
            assert stage.all("ARG") == []
            assert not re.search(r"SECRET|PASSWORD|PEPPER|__URL", " ".join(stage.all("ENV")))

    def test_starts_the_service_without_a_shell(self, final: Stage) -> None:
        # A shell as process 1 would keep SIGTERM to itself, and every stop would end in SIGKILL.
        assert final.command("ENTRYPOINT") == ["authapi"]
        assert final.command("CMD") == ["serve", "--host", "0.0.0.0", "--port", "5001"]
        assert final.one("STOPSIGNAL") == "SIGTERM"
        assert final.one("EXPOSE") == "5001"


class TestHealthcheck:
    def check(self, final: Stage, port: int) -> int:
        """Run the image's own check against another port; return its exit code."""
        _, _, command = final.one("HEALTHCHECK").partition("CMD ")
        python, *arguments = json.loads(command)
        assert python == "python"
        arguments[-1] = arguments[-1].replace("5001", str(port))
        environment = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        run = subprocess.run(
            [sys.executable, *arguments], check=False, env=environment, stderr=subprocess.DEVNULL
        )
        return run.returncode

    def test_passes_on_200(
        self, final: Stage, health_server: tuple[http.server.HTTPServer, list[int]]
    ) -> None:
        assert self.check(final, health_server[0].server_port) == 0

    def test_fails_on_anything_else(
        self, final: Stage, health_server: tuple[http.server.HTTPServer, list[int]]
    ) -> None:
        server, status = health_server
        status[0] = 503
        assert self.check(final, server.server_port) == 1

    def test_fails_without_a_server(self, final: Stage, unused_tcp_port: int) -> None:
        assert self.check(final, unused_tcp_port) == 1
