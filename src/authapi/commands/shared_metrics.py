"""Where worker processes leave their metrics for one another."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from authapi.commands.failures import CommandFailed
from authapi.settings import Settings

SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_metrics(settings: Settings, *, workers: int) -> Iterator[None]:
    """Name a fresh directory to the workers that are started in the block, and remove it afterwards.

    One that the operator has named is left to him. Raises `CommandFailed` if the data directory cannot be
    written to.
    """
    if workers == 1 or os.environ.get(SHARED_DIRECTORY):
        yield
        return
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = tempfile.TemporaryDirectory(
            prefix="metrics-", dir=settings.data_dir.resolve(), ignore_cleanup_errors=True
        )
    except OSError as error:
        raise CommandFailed(
            f"AUTHAPI_DATA_DIR: cannot write to {settings.data_dir}: {error.strerror}"
        ) from None
    with directory as path:
        # prometheus_client reads it when it is imported, which the workers have still before them.
        os.environ[SHARED_DIRECTORY] = path
        try:
            yield
        finally:
            del os.environ[SHARED_DIRECTORY]
