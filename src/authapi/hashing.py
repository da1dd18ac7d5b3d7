"""Password hashing as the services use it: asynchronous, bounded, fair between addresses.

A hash costs a quarter of a CPU second. It never runs on the event loop, and when more of them wait than can
be done soon, the surplus is refused at once (ASVS 15.2.2).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from authapi import request_context
from authapi.client_address import rate_limit_key
from authapi.errors import HashingBusy
from authapi.observer import Observer
from authapi.security.hashing_places import HashingPoolFull, HashingRefused
from authapi.security.hashing_pool import HashingDeadlineExceeded, HashingPool
from authapi.security.passwords import PasswordHasher, PepperRing, Verification
from authapi.setting_groups import PasswordSettings

T = TypeVar("T")


class Hasher:
    """A `PasswordHasher` on its own threads. Every method raises `HashingBusy` when too many wait."""

    def __init__(self, settings: PasswordSettings, *, observer: Observer) -> None:
        peppers = PepperRing(
            current=settings.pepper.get_secret_value().encode() if settings.pepper else None,
            previous=[secret.get_secret_value().encode() for secret in settings.pepper_previous],
        )
        self._hasher = PasswordHasher(rounds=settings.bcrypt_rounds, pepper=peppers)
        self.pool = HashingPool(
            workers=settings.hash_workers, queue_size=settings.hash_queue, on_wait=observer.hash_started
        )
        self._observer = observer

    async def warm(self) -> None:
        """Compute one dummy hash: the first is slower, which would tell the first unknown user apart."""
        await self.pool.warm(lambda: self._hasher.verify_dummy("warm"))

    @contextmanager
    def place(self) -> Iterator[None]:
        """Be sure of a turn before the database is asked what to hash; raises `HashingBusy`."""
        with self._refusals(), self.pool.places.hold(_address()):
            yield

    def expect_place(self) -> None:
        """Raise `HashingBusy` if `place` would: for a request that is not even read yet."""
        with self._refusals():
            self.pool.places.expect(_address())

    async def hash(self, password: str) -> str:
        """Hash a new password."""
        return await self._run(self._hasher.hash, password)

    async def verify(self, password: str, password_hash: str) -> Verification:
        """Check a password; the result carries a new hash if the stored one is outdated."""
        return await self._run(self._hasher.verify, password, password_hash)

    async def verify_dummy(self, password: str) -> None:
        """Cost as much as `verify`, for an account that does not exist (ASVS 6.3.8)."""
        await self._run(self._hasher.verify_dummy, password)

    def scheme_of(self, password_hash: str) -> str:
        """The scheme of a hash that can be verified here; computes nothing. Raises `UnusableHash`."""
        return self._hasher.scheme_of(password_hash)

    def close(self) -> None:
        """Stop the threads; what waits is cancelled."""
        self.pool.close()

    async def _run(self, function: Callable[..., T], *arguments: str) -> T:
        with self._refusals():
            return await self.pool.run(
                function,
                *arguments,
                fairness_key=_address(),
                is_unwanted=request_context.current().has_left,
            )

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except HashingRefused as refused:
            # Not counted when the client has gone or the pool is closing.
            if isinstance(refused, HashingPoolFull | HashingDeadlineExceeded):
                self._observer.hash_refused()
            raise HashingBusy(str(refused), retry_after=refused.retry_after) from None


def _address() -> str:
    # A subscriber may have 65,536 networks of /64. Neighbours in a /48 share its turns, and nothing else.
    return rate_limit_key(request_context.current().ip or "", ipv6_prefix=48)
