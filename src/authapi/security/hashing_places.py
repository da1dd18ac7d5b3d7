"""Places on the way to a hash: as many as have their turn in time, and never all of them for one caller."""

import contextvars
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["HashingPlaces", "HashingPoolFull", "HashingRefused"]

_MIN_RETRY_AFTER: Final = 1.0
# The weight of the newest duration in the running mean.
_SMOOTHING: Final = 0.2
# Beyond its first place, a key may hold at most twice as many as stay free, so one address never gets more than
# two thirds.
_GREED: Final = 2


class HashingRefused(Exception):
    """The work was not done; `retry_after` is in seconds."""

    def __init__(self, retry_after: float = _MIN_RETRY_AFTER) -> None:
        super().__init__(f"password hashing is busy; try again in {retry_after:.1f} s")
        self.retry_after = retry_after


class HashingPoolFull(HashingRefused):
    """There is no place left for this key."""


class HashingPlaces:
    """One place for each of `workers` threads and up to `queue_size` places to wait.

    Fewer may wait where, going by the mean duration of a hash, the last ones would miss the deadline. No key (a
    caller's address) gets the last place while it holds others. Thread-safe. `taken` is how many are held.
    """

    def __init__(self, *, workers: int, queue_size: int, deadline_seconds: float) -> None:
        self._workers = workers
        self._queue_size = queue_size
        self._deadline = deadline_seconds
        # Guards everything below.
        self._lock = threading.Lock()
        self._taken_by = Counter[str]()
        self._mean_seconds = 0.0
        self.taken = 0

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold a place for what leads to a hash, or keep the one that is held; raises HashingPoolFull at once.

        Take it before any other work: in a flood, a request that will be refused must not cost a query first.
        """
        if _holds_place_of.get() is self:
            yield
            return
        with self._lock:
            self._expect(key)
            self._taken_by[key] += 1
            self.taken += 1
        _holds_place_of.set(self)
        try:
            yield
        finally:
            # Not with a token: what its task left unfinished is closed in another context.
            _holds_place_of.set(None)
            with self._lock:
                self.taken -= 1
                self._taken_by[key] -= 1
                # Keys are addresses; one that has no place leaves nothing behind.
                if not self._taken_by[key]:
                    del self._taken_by[key]

    def expect(self, key: str) -> None:
        """Raise HashingPoolFull if `hold` would, without taking a place."""
        with self._lock:
            self._expect(key)

    def learn(self, seconds: float) -> None:
        """Take into account how long a hash has taken."""
        with self._lock:
            mean = self._mean_seconds or seconds
            self._mean_seconds = mean + _SMOOTHING * (seconds - mean)

    def retry_after(self) -> float:
        """Return the seconds until those who hold a place now are through."""
        return max(_MIN_RETRY_AFTER, self.taken * self._mean_seconds / self._workers)

    def _expect(self, key: str) -> None:
        places = self._queue_size
        if self._mean_seconds:
            # More would not have their turn before the deadline.
            places = min(places, int(self._deadline * self._workers / self._mean_seconds))
        free = self._workers + places - self.taken
        taken = self._taken_by[key]
        if free < 1 or (taken and taken >= _GREED * (free - 1)):
            raise HashingPoolFull(self.retry_after())


# Tells those who are in a place from those who still need one.
_holds_place_of: contextvars.ContextVar[HashingPlaces | None] = contextvars.ContextVar(
    "holds_place_of", default=None
)
