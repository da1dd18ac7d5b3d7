"""Events that use cases report for metrics, so that services need not import a metrics library."""

from typing import Literal

# Unknown address and wrong password are one outcome: a label must not tell which accounts exist.
LoginOutcome = Literal["success", "failure", "throttled", "mfa_required", "disabled"]
RefreshOutcome = Literal["rotated", "converged", "reused", "refused"]


class Observer:
    """Ignores every event, as the command line needs it; `metrics.Metrics` overrides it and counts."""

    def login(self, outcome: LoginOutcome) -> None:
        """A step of a login came to this."""

    def refresh(self, outcome: RefreshOutcome) -> None:
        """A refresh token was presented, with this result."""

    def hash_started(self, waited: float) -> None:
        """A password is being hashed after `waited` seconds in the queue; called on a hashing thread."""

    def hash_refused(self) -> None:
        """There was no place in the queue, or no thread in time, for a password."""

    def mail_sent(self) -> None:
        """The mail server took a mail."""

    def rate_limited(self, limit: str) -> None:
        """A request was refused because its address or user has spent the named limit."""
