"""Codes of an authenticator app against a served process whose own clock is moved, by libfaketime.

Asked for by `AUTHAPI_TEST_FAKETIME=1`; `tests/api/test_mfa_replay.py` moves the clock inside of one process.
"""

import os
import time
from pathlib import Path

import httpx
import pyotp
import pytest

from tests.support.accounts import PASSWORD
from tests.support.command import serving
from tests.support.processes import free_port

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
STEP = 30

# The library looks at a file whenever the process asks for the time: on a busy machine too slow for deadlines.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed"),
    pytest.mark.skipif("AUTHAPI_TEST_FAKETIME" not in os.environ, reason="wants AUTHAPI_TEST_FAKETIME=1"),
]


class MovedClock:
    """The clock of a process, some seconds ahead of ours."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.ahead = 0.0
        self._write()

    def move_to_step(self, steps: int) -> None:
        """Ahead by so many steps, and to the middle of one: no request crosses the edge by accident."""
        self.ahead = steps * STEP + STEP / 2 - time.time() % STEP
        self._write()

    def now(self) -> float:
        return time.time() + self.ahead

    def _write(self) -> None:
        self._file.write_text(f"{self.ahead:+.3f}\n")


def second_step(client: httpx.Client, code: str) -> int:
    login = client.post("/api/auth/login", json={"email": "ada@example.com", "password": PASSWORD})
    body = {"mfa_token": login.json()["data"]["mfa_token"], "code": code}
    return client.post("/api/auth/login/mfa", json=body).status_code


def test_the_process_goes_by_its_clock(tmp_path: Path) -> None:
    clock = MovedClock(tmp_path / "ahead")
    faked = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "ahead"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "AUTHAPI_RATE_LIMIT__AUTH": "1000/minute",
    }
    with (
        serving(tmp_path, port=free_port(), **faked) as authapi,
        httpx.Client(base_url=authapi.base_url, trust_env=False, timeout=60) as client,
    ):
        clock.move_to_step(2)
        body = {"email": "ada@example.com", "password": PASSWORD, "full_name": "Ada Lovelace"}
        registered = client.post("/api/auth/register", json=body).json()["data"]
        headers = {"Authorization": f"Bearer {registered['access_token']}"}
        path = "/api/auth/mfa/totp"
        begun = client.post(path, json={"password": PASSWORD}, headers=headers)
        app = pyotp.TOTP(begun.json()["data"]["secret"])
        confirmed = client.post(f"{path}/confirm", json={"code": app.at(int(clock.now()))}, headers=headers)
        assert confirmed.status_code == 200, confirmed.text

        # Our own clock's code is long out of date for the process.
        clock.move_to_step(10)
        assert second_step(client, app.at(int(time.time()))) == 401
        for steps, status in ((-2, 401), (2, 401), (-1, 200), (-1, 401), (0, 200), (1, 200)):
            assert second_step(client, app.at(int(clock.now()) + steps * STEP)) == status, steps

        # Across the edge of a step, what was used stays used, and the next code is a new one.
        clock.move_to_step(12)
        code = app.at(int(clock.now()))
        assert second_step(client, code) == 200
        clock.move_to_step(13)
        assert second_step(client, code) == 401
        assert second_step(client, app.at(int(clock.now()))) == 200
