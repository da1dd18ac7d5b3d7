"""Who makes the current request, as far as a verified access token tells."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated user of a request; what it says is as old as the token."""

    user_id: UUID
    user_session_id: UUID
    email: str
    role: str | None
    roles: tuple[str, ...]
    scopes: frozenset[str]
    amr: tuple[str, ...]
    auth_time: datetime
