"""The one place that reads the wall clock, so that tests can move it."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current instant, aware and in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the place the rule points to
