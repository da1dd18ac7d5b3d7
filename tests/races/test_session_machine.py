"""Sessions under every order of logins, refreshes, thefts, lost replies, clocks and revocations."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import make_settings
from tests.races.session_machine import SessionMachine
from tests.support.databases import migrated_database


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_order_of_events_breaks_a_session(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = asyncio.run(migrated_database(request, kind, tmp_path))

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
