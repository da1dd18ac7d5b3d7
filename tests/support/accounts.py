"""Users for tests, made over HTTP as a client would."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import httpx

from authapi.repositories import roles, users
from authapi.runtime import Runtime

PASSWORD = "correct Horse 7 battery"


@dataclass(frozen=True)
class Account:
    """A registered user with a valid access token."""

    id: UUID
    email: str
    password: str
    access_token: str
    data: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        """The header that speaks for this user."""
        return {"Authorization": f"Bearer {self.access_token}"}


class Accounts:
    """Registers users and, through the database, gives them roles."""

    def __init__(self, client: httpx.AsyncClient, runtime: Runtime) -> None:
        self._client = client
        self._runtime = runtime
        self._numbers = count(1)

    async def register(self, email: str | None = None, *, full_name: str = "Ada Lovelace") -> Account:
        """Make an ordinary user."""
        email = email or f"user{next(self._numbers)}@example.com"
        body = {"email": email, "password": PASSWORD, "full_name": full_name}
        response = await self._client.post("/api/auth/register", json=body)
        assert response.status_code == 201, response.text
        return self._account(email, response.json()["data"])

    async def with_roles(self, *names: str, email: str | None = None) -> Account:
        """Make a user with exactly these roles."""
        account = await self.register(email)
        await self.assign_roles(account, names)
        return await self.log_in(account)

    async def admin(self, email: str | None = None) -> Account:
        """Make an administrator."""
        return await self.with_roles("admin", email=email)

    async def assign_roles(self, account: Account, names: Sequence[str]) -> None:
        """Replace a user's roles; tokens that were issued before do not show it."""
        async with self._runtime.database.unit_of_work() as db:
            user = await users.find_by_id(db, account.id)
            assert user is not None
            await users.replace_roles(db, user, await roles.find_by_names(db, names))

    async def log_in(self, account: Account) -> Account:
        """The same user with a new session."""
        body = {"email": account.email, "password": account.password}
        response = await self._client.post("/api/auth/login", json=body)
        assert response.status_code == 200, response.text
        return self._account(account.email, response.json()["data"])

    @staticmethod
    def _account(email: str, data: dict[str, Any]) -> Account:
        return Account(
            id=UUID(data["user_id"]),
            email=email,
            password=PASSWORD,
            access_token=data["access_token"],
            data=data,
        )
