"""The one place that reads the wall clock, so that tests can move it."""

from datetime import UTC, datetime, timedelta

SKEW_MARGIN = timedelta(minutes=5)
"""How much longer than tokens live their keys and revocations do: clocks differ, and verifiers allow leeway."""


def utc_now() -> datetime:
    """The current instant, aware and in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the place the rule points to
