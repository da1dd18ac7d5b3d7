"""What the database is asked meanwhile."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import event

from authapi import request_context
from authapi.runtime import Runtime


@contextmanager
def recorded_statements(
    runtime: Runtime, *, counts: Callable[[], bool] = lambda: True
) -> Iterator[list[str]]:
    """The statements of the runtime's engine, in their order; those at which `counts` says no are left out."""
    texts: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if counts():
            texts.append(re.sub(r"\bsa_savepoint_\d+", "savepoint", statement))

    engine = runtime.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield texts
    finally:
        event.remove(engine, "before_cursor_execute", note)


@contextmanager
def statements_of_requests(runtime: Runtime) -> Iterator[list[str]]:
    """Those of requests alone; the loops of the process do not count."""
    with recorded_statements(
        runtime, counts=lambda: request_context.current().request_id is not None
    ) as texts:
        yield texts
