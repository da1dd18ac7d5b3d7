"""What is logged, as dictionaries or as it is written."""

import json
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from authapi.access_log import ACCESS_LOG


@contextmanager
def captured_access_lines() -> Iterator[list[str]]:
    """The lines of the access log, which reach neither structlog nor logging."""
    lines: list[str] = []
    before, ACCESS_LOG.write_line = ACCESS_LOG.write_line, lines.append
    try:
        yield lines
    finally:
        ACCESS_LOG.write_line = before


@contextmanager
def captured_lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """As structlog's `capture_logs`; when the block ends, the lines of the access log come last."""
    with structlog.testing.capture_logs() as lines, captured_access_lines() as access_lines:
        yield lines
        for line in access_lines:
            values = json.loads(line)
            lines.append(values | {"log_level": values["level"]})
