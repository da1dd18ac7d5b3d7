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

    def drain(self) -> list[T]:
        """Remove and return everything."""
        return [self.pop() for _ in range(len(self))]

    def _shrink(self, key: str) -> None:
        self._size -= 1
        # Keys are addresses; one that has nothing waiting leaves nothing behind.
        if not self._queues[key]:
            del self._queues[key]
