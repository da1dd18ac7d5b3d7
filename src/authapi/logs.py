"""One log format for authapi, uvicorn, SQLAlchemy and Alembic: JSON lines, or colours on a terminal."""

import logging
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from authapi import redaction, request_context
from authapi.access_log import ACCESS_LOG

LogFormat = Literal["auto", "json", "console"]

# At DEBUG or INFO these write SQL parameters, whole URLs with their query, or form fields.
_TALKATIVE = (
    "aiosqlite",
    # Lines for every plug-in at the start, and two for every health probe.
    "alembic.runtime",
    "asyncio",
    # SQLAlchemy names the logger after our class.
    "authapi.fair_pool",
    "httpcore",
    "httpx",
    "python_multipart",
    "sqlalchemy.engine",
    "sqlalchemy.pool",
)


def _add_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = request_context.current()
    if context.request_id is not None:
        event.setdefault("request_id", context.request_id)
        event.setdefault("ip", context.ip)
    return event


_ENRICH: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    _add_request,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_ORDER = ("timestamp", "level", "logger", "event", "request_id", "ip")


def configure_logging(*, format: LogFormat, level: str, stream: TextIO | None = None) -> None:
    """Sends every logger of the process to `stream` (default stderr: stdout belongs to the CLI's answers).

    `auto` is console on a terminal and JSON elsewhere. May be called again; the last call counts. Raises
    ValueError for an unknown level. Lines hold an ISO 8601 UTC timestamp, level, logger, event and, inside
    of a request, request_id and ip; secrets are replaced and exceptions appear without their messages
    (ASVS 16.2.1, 16.2.5).
    """
    terminal = (stream or sys.stderr).isatty()
    console = format == "console" or (format == "auto" and terminal)
    handler = _LineHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_ENRICH,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _render_exception,
                _redact,
                structlog.dev.ConsoleRenderer(colors=terminal, sort_keys=False)
                if console
                else structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.setLevel(level.upper())
    for previous in [known for known in root.handlers if isinstance(known, _LineHandler)]:
        root.removeHandler(previous)
    root.addHandler(handler)
    ACCESS_LOG.write_line = None if console else handler.write_line

    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    # Its lines hold the raw query string; RequestContextMiddleware writes the access log.
    logging.getLogger("uvicorn.access").disabled = True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))

    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


class _LineHandler(logging.StreamHandler[TextIO]):
    """Our handler, recognisable when logging is configured again; follows `sys.stderr` if given no stream."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._follows_stderr = stream is None

    def emit(self, record: logging.LogRecord) -> None:
        if self._follows_stderr:
            self.stream = sys.stderr
        super().emit(record)

    def write_line(self, line: str) -> None:
        """Write a finished line; one that cannot be written is lost, as in `handleError`."""
        stream = sys.stderr if self._follows_stderr else self.stream
        self.acquire()
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):
            pass
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Loses the line rather than the request (full disk); the stock version prints the raw arguments."""


def _render_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    info: Any = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    event.pop("exception", None)
    if isinstance(error, BaseException):
        event["exception"] = redaction.describe_exception(error)
    return event


def _in_order(event: EventDict) -> EventDict:
    return {key: event[key] for key in _ORDER if key in event} | dict(event)


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # Made of file and function names only, and meant to have several lines.
    exception = event.pop("exception", None)
    safe: dict[str, Any] = redaction.redact(_in_order(event))
    if exception is not None:
        safe["exception"] = exception
    return safe


# One list for the process: loggers keep a reference to it.
_PROCESSORS: list[Processor] = [
    structlog.stdlib.filter_by_level,
    *_ENRICH,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]
