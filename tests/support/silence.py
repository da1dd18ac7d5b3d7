"""Thousands of refusals are tens of thousands of log lines, and writing them takes longer than refusing."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence() -> Iterator[None]:
    """Log nothing meanwhile, in any thread."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
