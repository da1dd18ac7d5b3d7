"""What verification can end with besides claims."""


class VerificationUnavailable(Exception):
    """A token could not be checked: no usable keys, or revocations that were not heard of for too long.

    What cannot be checked is not allowed: answer 503 with `Retry-After`. The message says why, for the log.
    """
