"""The whole OpenAPI document against a real server: schemathesis looks for answers that it does not promise.

Run as its users run it, by its command line, with every check and a fixed choice of examples.
"""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI

from authapi.main import create_app
from authapi.services import login_throttle
from tests.conftest import make_settings
from tests.support.accounts import PASSWORD, Accounts
from tests.support.serving import serve_beside
from tests.support.silence import silence

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
# The only administrator: what the run finds to disable, demote or delete is never him.
CONFIGURATION = """
[auth.dynamic.openapi.OAuth2PasswordBearer]
path = "/api/auth/login"
payload = {{ email = "{email}", password = "{password}" }}
extract_selector = "/data/access_token"

# What a schema cannot say is refused with 422 too: weak passwords, cursors of another list, unknown roles; and
# with 400: NUL in a string, a one-time token that nobody has.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422", "429"]

# RFC 6749 section 5.2 knows only 400 for that, and section 3.1 refuses repeated parameters.
[[operations]]
include-path-regex = "^/api/auth/(token|introspect|revoke)$"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "429"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "414", "422", "429"]
"""
OPTIONS = [
    "--checks=all",
    # The phases that chain requests find the administrator's own account and give it another address: then
    # they cannot log in again.
    "--phases=examples,coverage",
    "--generation-deterministic",
    "--no-shrink",
    "--no-color",
]


def run_schemathesis(configuration: Path, url: str) -> "subprocess.CompletedProcess[str]":
    """Send what the document allows, and what it does not, to every operation."""
    return subprocess.run(
        [SCHEMATHESIS, f"--config-file={configuration}", "run", f"{url}/openapi.json", *OPTIONS],
        cwd=configuration.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
async def test_every_answer_is_documented(
    app: FastAPI,
    accounts: Accounts,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Hundreds of wrong passwords from one address would keep the fuzzer itself from logging in again.
    monkeypatch.setattr(login_throttle, "SOURCE", login_throttle.Rule(free=10**6, limit=10**6))
    admin = await accounts.admin()
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(email=admin.email, password=PASSWORD))
    settings = make_settings(database_url=database_url, data_dir=app.state.runtime.settings.data_dir)
    with silence():
        async with serve_beside(create_app(settings)) as url:
            # In a thread: the application of the other tests goes on following its revocations meanwhile.
            run = await asyncio.to_thread(run_schemathesis, configuration, url)
    # Lines of a reproducer can be kilobytes long.
    report = "\n".join(line[:400] for line in (run.stdout + run.stderr).splitlines())
    assert run.returncode == 0, report
    tested = re.search(r"Tested: (\d+)", run.stdout)
    assert tested is not None, report
    assert int(tested[1]) == sum(len(item) for item in app.openapi()["paths"].values())
