"""Sessions under every order of logins, refreshes, thefts, lost replies, clocks and revocations."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from authapi import migrations
from tests.conftest import make_settings
from tests.races.session_machine import SessionMachine


@pytest.mark.slow
def test_no_order_of_events_breaks_a_session(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'authapi.sqlite3'}"
    asyncio.run(migrations.upgrade(url))

    class Machine(SessionMachine):
        settings_of_service = make_settings(
            database_url=url,
            data_dir=tmp_path,
            access_token={"algorithm": "HS256", "secret": "a secret for tests, and long enough for them"},
        )

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
