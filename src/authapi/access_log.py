"""The access log: a line for nearly every request, which must cost little.

structlog would add a fifth to a request answered from memory, so JSON lines are formatted here. All values are
validated; nothing needs redacting.
"""

import json
import logging
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii

import structlog

from authapi import clock
from authapi.request_context import RequestContext

NAME = "authapi.access"


class AccessLog:
    """Writes its lines with `write_line` if that is set, else through structlog like every other logger."""

    def __init__(self) -> None:
        self.write_line: Callable[[str], None] | None = None
        self._standard = logging.getLogger(NAME)
        self._structured = structlog.stdlib.get_logger(NAME)

    def write(
        self,
        context: RequestContext,
        *,
        method: str,
        route: str,
        status: int | None,
        duration_ms: float,
        level: int = logging.INFO,
    ) -> None:
        """Record a request: its context, the template of its route, and what became of it."""
        if not self._standard.isEnabledFor(level):
            return
        method = method if method.isalpha() else "other"
        if self.write_line is None:
            self._structured.log(
                level, "http.request", method=method, route=route, status=status, duration_ms=duration_ms
            )
            return
        what, where = _fixed_members(level, method, route)
        self.write_line(
            _LINE
            % (
                clock.utc_now().isoformat(timespec="microseconds")[:-6],
                what,
                _json_text(context.request_id),
                _json_text(context.ip),
                where,
                "null" if status is None else status,
                duration_ms,
            )
        )


# As `json.dumps` writes it, which would take longer than the rest.
_LINE = '{"timestamp": "%sZ", %s, "request_id": %s, "ip": %s, %s, "status": %s, "duration_ms": %s}'


@lru_cache(maxsize=1024)
def _fixed_members(level: int, method: str, route: str) -> tuple[str, str]:
    """What lines about a route have in common: the members before the caller's, and those after."""
    what = {"level": logging.getLevelName(level).lower(), "logger": NAME, "event": "http.request"}
    where = {"method": method, "route": route}
    return json.dumps(what)[1:-1], json.dumps(where)[1:-1]


def _json_text(text: str | None) -> str:
    return "null" if text is None else encode_basestring_ascii(text)


ACCESS_LOG = AccessLog()
