"""`authapi serve --workers`: whichever process is asked for the metrics answers for all of them."""

import os
import re
import signal
import time
from pathlib import Path

import httpx
import pytest

from authapi.commands.failures import CommandFailed
from authapi.commands.shared_metrics import SHARED_DIRECTORY, shared_metrics
from authapi.metrics import _read_shared
from authapi.settings import Settings
from tests.support.command import Serving, serving
from tests.support.processes import free_port

WORKERS = 2


def ask(running: Serving, path: str) -> str:
    """A request over a connection of its own, which any worker may take."""
    return httpx.get(f"{running.base_url}{path}", trust_env=False, timeout=10).text


def value(text: str, series: str) -> float:
    match = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert match is not None, text
    return float(match[1])


class TestWorkers:
    def test_their_numbers_are_added_up(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--workers", str(WORKERS), port=free_port()) as running:
            for _ in range(40):
                ask(running, "/health/live")
            series = 'authapi_http_requests_total{method="GET",route="/health/live",status="2xx"}'
            # Never less than before, whichever of them answers.
            seen = [value(ask(running, "/metrics"), series) for _ in range(6)]
            assert set(seen) == {40.0}
            (directory,) = (tmp_path / ".authapi").glob("metrics-*")
            counted = {path.name for path in directory.glob("counter_*.db")}
            assert len(counted) == WORKERS

            deadline = time.monotonic() + 20
            while value(ask(running, "/metrics"), "authapi_database_pool_size") != 10 * WORKERS:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            text = ask(running, "/metrics")
            assert 0 <= value(text, "authapi_revocation_staleness_seconds") < 10
            assert value(text, "authapi_http_requests_in_progress") == 1
            assert running.stop(signal.SIGTERM) == 0
        assert not directory.exists()

    def test_a_worker_that_was_killed_no_longer_holds_anything(self, tmp_path: Path) -> None:
        for name in ("gauge_livesum_", "gauge_livemax_", "counter_"):
            (tmp_path / f"{name}{os.getpid()}.db").touch()
            (tmp_path / f"{name}{2**22 + 1}.db").touch()
        _read_shared(tmp_path)
        kept = {path.name for path in tmp_path.iterdir()}
        # What it has counted did happen.
        assert kept == {
            f"gauge_livesum_{os.getpid()}.db",
            f"gauge_livemax_{os.getpid()}.db",
            f"counter_{os.getpid()}.db",
            f"counter_{2**22 + 1}.db",
        }


class TestDirectory:
    def test_one_worker_needs_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(SHARED_DIRECTORY, raising=False)
        with shared_metrics(Settings(data_dir=tmp_path / "data"), workers=1):
            assert SHARED_DIRECTORY not in os.environ
        assert not (tmp_path / "data").exists()

    def test_it_is_made_private_and_removed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(SHARED_DIRECTORY, raising=False)
        with shared_metrics(Settings(data_dir=tmp_path), workers=2):
            directory = Path(os.environ[SHARED_DIRECTORY])
            assert directory.parent == tmp_path
            assert directory.stat().st_mode & 0o077 == 0
        assert SHARED_DIRECTORY not in os.environ
        assert not directory.exists()

    def test_the_operators_own_is_left_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(SHARED_DIRECTORY, str(tmp_path))
        with shared_metrics(Settings(data_dir=tmp_path / "data"), workers=2):
            assert os.environ[SHARED_DIRECTORY] == str(tmp_path)
        assert tmp_path.exists()

    def test_a_data_directory_that_cannot_be_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(SHARED_DIRECTORY, raising=False)
        (tmp_path / "file").touch()
        with (
            pytest.raises(CommandFailed, match="AUTHAPI_DATA_DIR"),
            shared_metrics(Settings(data_dir=tmp_path / "file"), workers=2),
        ):
            pass
