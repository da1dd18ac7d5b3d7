"""What FastAPI's own OpenTelemetry support may export; it is silent unless an SDK is installed and configured."""

from collections.abc import MutableMapping
from typing import Any

from fastapi.telemetry import TelemetryConfig


def carries_query(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request is left out: FastAPI 0.165 exports whole queries, and links in mails carry tokens."""
    return bool(scope.get("query_string"))


TELEMETRY: TelemetryConfig = {
    # Its records of exceptions hold their messages and stack traces, which may quote what a client sent.
    "logs": False,
    "exclude": carries_query,
}
