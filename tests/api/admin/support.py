"""What the tests of the administration share."""

from typing import Any

import httpx

from tests.support.accounts import Account

ADMIN = "/api/admin"
USERS = f"{ADMIN}/users"
ROLES = f"{ADMIN}/roles"
PERMISSIONS = f"{ADMIN}/permissions"
INVITATIONS = f"{ADMIN}/invitations"
EVENTS = f"{ADMIN}/audit-events"
STATS = f"{ADMIN}/stats"
NOBODY = "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f"


class Caller:
    """An account that calls the administration."""

    def __init__(self, client: httpx.AsyncClient, account: Account) -> None:
        self._client = client
        self.account = account

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self._client.request(method, path, headers=self.account.headers, **options)

    async def read(self, path: str, **parameters: Any) -> Any:
        """The `data` of an answer that must be 200."""
        response = await self.call("GET", path, params=parameters)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    async def send(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        """The `data` of an answer with the status, or the `error` of one that is not 200."""
        response = await self.call(method, path, json=body)
        assert response.status_code == expect, response.text
        return response.json()["data"] if expect == 200 else response.json()["error"]

    async def walk(self, path: str, **parameters: Any) -> list[list[dict[str, Any]]]:
        """Every page of a list."""
        pages, cursor = [], None
        while True:
            asked = parameters if cursor is None else parameters | {"cursor": cursor}
            response = await self.call("GET", path, params=asked)
            assert response.status_code == 200, response.text
            pages.append(response.json()["data"])
            cursor = response.json()["page"]["next_cursor"]
            if cursor is None:
                return pages

    async def make_role(self, name: str, *permissions: str) -> dict[str, Any]:
        role: dict[str, Any] = await self.send(
            "POST", ROLES, {"name": name, "permissions": list(permissions)}
        )
        return role
