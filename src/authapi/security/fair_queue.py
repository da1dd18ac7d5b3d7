"""A queue in which keys take turns, however much each of them has brought."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First in, first out within a key; round robin between keys. Not locked: the owner holds a lock."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, key: str, item: T) -> None:
        """Add an item at the end of its key's queue."""
        self._queues.setdefault(key, deque()).append(item)
        self._size += 1

    def pop(self) -> T:
        """Remove and return the oldest item of the key whose turn it is; raises StopIteration if empty."""
        key, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        self._queues.move_to_end(key)
        self._shrink(key)
        return item

    def remove(self, key: str, item: T) -> bool:
        """Remove an item wherever it stands; False if it is not here."""
        queue = self._queues.get(key)
        if queue is None or item not in queue:
            return False
        queue.remove(item)
        self._shrink(key)
        return True

    def evict_for(self, key: str) -> T | None:
        """Remove the newest item of the longest queue, or None if `key` has as much of a share already."""
        other, longest = max(self._queues.items(), key=lambda entry: len(entry[1]))
        if len(longest) <= len(self._queues.get(key, ())) + 1:
            return None
        item = longest.pop()
        self._shrink(other)
        return item

    def ahead_of(self, key: str) -> int:
        """Return how many items come before one that is pushed now."""
        own = len(self._queues.get(key, ()))
        # One of every other key comes before each of our own.
        return own + sum(min(len(queue), own + 1) for other, queue in self._queues.items() if other != key)

    def drain(self) -> list[T]:
        """Remove and return everything."""
        return [self.pop() for _ in range(len(self))]

    def _shrink(self, key: str) -> None:
        self._size -= 1
        # Keys are addresses; one that has nothing waiting leaves nothing behind.
        if not self._queues[key]:
            del self._queues[key]
