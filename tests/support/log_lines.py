"""What is logged, as dictionaries."""

import json
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from authapi.access_log import ACCESS_LOG


@contextmanager
def captured_lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """As structlog's `capture_logs`, with the lines of the access log, which bypass structlog."""
    with structlog.testing.capture_logs() as lines:

        def write_line(line: str) -> None:
            values = json.loads(line)
            lines.append(values | {"log_level": values["level"]})

        before, ACCESS_LOG.write_line = ACCESS_LOG.write_line, write_line
        try:
            yield lines
        finally:
            ACCESS_LOG.write_line = before
