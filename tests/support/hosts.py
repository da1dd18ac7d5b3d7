"""A host of an installation without HTTP: its keys, and tokens that it issues and verifies."""

import json
import time
from uuid import uuid4

from authapi import clock, errors
from authapi.repositories import signing_keys
from authapi.runtime import Runtime
from authapi.security import base64url
from authapi.security.signing_keys import SigningKey
from authapi.services.key_keeper import KeyKeeper


class Host:
    """One process: it has started when `reload` was awaited for the first time."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.keeper = KeyKeeper(runtime)

    async def reload(self) -> "Host":
        """Load the keys, and make the one that is due."""
        await self.keeper.reload()
        return self

    def issue(self) -> str:
        """An access token, signed by the key whose turn it is."""
        now = clock.utc_now()
        return self.runtime.tokens.issue_for_user(
            user_id=uuid4(),
            email="ada@example.com",
            roles=["user"],
            scope="",
            user_session_id=uuid4(),
            amr=["pwd"],
            auth_time=now,
            issued_at=now,
            not_before=None,
        ).token

    def accepts(self, token: str) -> bool:
        """Whether a token verifies here."""
        self.runtime.revocations.confirm(read_at=time.monotonic())
        try:
            self.runtime.tokens.verify(token)
        except errors.InvalidAccessToken:
            return False
        return True

    @property
    def keys(self) -> list[SigningKey]:
        """The keys that verify here, the preferred one first."""
        return [timed.key for timed in self.runtime.tokens.keys]

    async def stored_kids(self) -> list[str]:
        """The stored keys, the latest first, whether they verify or not."""
        async with self.runtime.database.reading() as db:
            return [row.kid for row in await signing_keys.list_all(db)]


def kid_of(token: str) -> str:
    """The key that signed a token."""
    kid: str = json.loads(base64url.decode(token.split(".", maxsplit=1)[0]))["kid"]
    return kid
