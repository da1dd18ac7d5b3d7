"""Service clients for tests."""

from dataclasses import dataclass
from typing import Any

import httpx

from authapi.runtime import Runtime
from authapi.services.service_clients import create_client

TOKEN = "/api/auth/token"


@dataclass(frozen=True)
class Client:
    """A registered service client with its secret."""

    client_id: str
    client_secret: str

    @property
    def basic(self) -> tuple[str, str]:
        """What httpx takes as `auth`."""
        return self.client_id, self.client_secret

    @property
    def form(self) -> dict[str, str]:
        """The same in a form."""
        return {"client_id": self.client_id, "client_secret": self.client_secret}


async def register_client(runtime: Runtime, *scopes: str, name: str = "orders") -> Client:
    """Make a client as `authapi clients create` does."""
    async with runtime.database.unit_of_work() as db:
        client, secret = await create_client(db, name=name, scopes=scopes)
    return Client(client.client_id, secret)


async def own_token(http: httpx.AsyncClient, client: Client, **form: str) -> dict[str, Any]:
    """The answer to the client credentials grant."""
    response = await http.post(TOKEN, data={"grant_type": "client_credentials", **form}, auth=client.basic)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body
