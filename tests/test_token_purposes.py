"""Every kind of token at every door: it opens those that it is for, and no other (ASVS 9.2.2).

A new kind of token is one more entry in `TOKENS`, a new door one more in `DOORS`; what is not listed in
`OPENS` must be refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest

from authapi.runtime import Runtime
from authapi.security import opaque_tokens
from tests.support.accounts import Account, Accounts
from tests.support.clients import TOKEN, Client, own_token, register_client


@dataclass(frozen=True)
class World:
    """A user who is logged in and a service client, with the means to knock at doors."""

    http: httpx.AsyncClient
    runtime: Runtime
    account: Account
    service: Client

    async def post(self, path: str, **options: object) -> httpx.Response:
        return await self.http.post(path, **options)  # type: ignore[arg-type]


async def user_access_token(world: World) -> str:
    return world.account.access_token


async def client_access_token(world: World) -> str:
    token: str = (await own_token(world.http, world.service))["access_token"]
    return token


async def refresh_token(world: World) -> str:
    token: str = world.account.data["refresh_token"]
    return token


async def client_secret(world: World) -> str:
    return world.service.client_secret


async def client_id(world: World) -> str:
    return world.service.client_id


async def device_token(world: World) -> str:
    token: str = world.account.data["device_token"]
    return token


async def unknown_one_time_token(world: World) -> str:
    return opaque_tokens.generate("authapi_ot_")[0]


async def session_id(world: World) -> str:
    return str(world.runtime.tokens.verify(world.account.access_token).claims.sid)


async def bearer_me(world: World, token: str) -> bool:
    response = await world.http.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
    return opened(response, 401)


async def bearer_validate(world: World, token: str) -> bool:
    return opened(await world.post("/validate", headers={"Authorization": f"Bearer {token}"}), 403)


async def bearer_logout(world: World, token: str) -> bool:
    return opened(await world.post("/api/auth/logout", headers={"Authorization": f"Bearer {token}"}), 401)


async def json_refresh(world: World, token: str) -> bool:
    return opened(await world.post("/api/auth/refresh", json={"refresh_token": token}), 401, 422)


async def cookie_refresh(world: World, token: str) -> bool:
    headers = {"Cookie": f"authapi_refresh={token}"}
    return opened(await world.post("/api/auth/refresh", headers=headers), 401)


async def json_logout(world: World, token: str) -> bool:
    return opened(await world.post("/api/auth/logout", json={"refresh_token": token}), 401, 422)


async def refresh_grant(world: World, token: str) -> bool:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return opened(await world.post(TOKEN, data=form), 400)


async def password_of_the_user(world: World, token: str) -> bool:
    body = {"email": world.account.email, "password": token}
    return opened(await world.post("/api/auth/login", json=body), 401, 422)


async def password_grant(world: World, token: str) -> bool:
    form = {"grant_type": "password", "username": world.account.email, "password": token}
    return opened(await world.post(TOKEN, data=form), 400)


async def client_secret_basic(world: World, token: str) -> bool:
    auth = (world.service.client_id, token)
    return opened(await world.post("/api/auth/introspect", data={"token": "x"}, auth=auth), 401)


async def client_secret_post(world: World, token: str) -> bool:
    form = {"token": "x", "client_id": world.service.client_id, "client_secret": token}
    return opened(await world.post("/api/auth/revoke", data=form), 401)


async def client_credentials_grant(world: World, token: str) -> bool:
    auth = (world.service.client_id, token)
    return opened(await world.post(TOKEN, data={"grant_type": "client_credentials"}, auth=auth), 401)


async def bearer_instead_of_client(world: World, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return opened(await world.post("/api/auth/introspect", data={"token": "x"}, headers=headers), 401)


async def introspected_as_access_token(world: World, token: str) -> bool:
    response = await world.post("/api/auth/introspect", data={"token": token}, auth=world.service.basic)
    body = response.json()
    assert body == {"active": False} or body["active"] is True
    return bool(body.get("token_type") == "Bearer")


async def introspected_as_refresh_token(world: World, token: str) -> bool:
    response = await world.post("/api/auth/introspect", data={"token": token}, auth=world.service.basic)
    body = response.json()
    return bool(body["active"]) and "token_type" not in body


def opened(response: httpx.Response, *refusals: int) -> bool:
    assert response.status_code in {200, *refusals}, response.text
    return response.status_code == 200


Factory = Callable[[World], Awaitable[str]]
Door = Callable[[World, str], Awaitable[bool]]

TOKENS: list[Factory] = [
    user_access_token,
    client_access_token,
    refresh_token,
    client_secret,
    client_id,
    device_token,
    unknown_one_time_token,
    session_id,
]
DOORS: list[Door] = [
    bearer_me,
    bearer_validate,
    bearer_logout,
    json_refresh,
    cookie_refresh,
    json_logout,
    refresh_grant,
    password_of_the_user,
    password_grant,
    client_secret_basic,
    client_secret_post,
    client_credentials_grant,
    bearer_instead_of_client,
    introspected_as_access_token,
    introspected_as_refresh_token,
]
OPENS: dict[Factory, set[Door]] = {
    user_access_token: {bearer_me, bearer_validate, bearer_logout, introspected_as_access_token},
    client_access_token: {bearer_validate, introspected_as_access_token},
    refresh_token: {json_refresh, cookie_refresh, json_logout, refresh_grant, introspected_as_refresh_token},
    client_secret: {client_secret_basic, client_secret_post, client_credentials_grant},
}


@pytest.fixture
async def world(client: httpx.AsyncClient, runtime: Runtime, accounts: Accounts) -> World:
    return World(client, runtime, await accounts.register(), await register_client(runtime))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize("make_token", TOKENS, ids=lambda factory: factory.__name__)
async def test_a_token_opens_its_own_doors_only(world: World, make_token: Factory, door: Door) -> None:
    token = await make_token(world)
    assert await door(world, token) is (door in OPENS.get(make_token, set()))


def test_every_door_can_be_opened() -> None:
    """A door that opens for nobody would prove nothing; the user's password opens those two."""
    assert set().union(*OPENS.values()) == set(DOORS) - {
        password_of_the_user,
        password_grant,
        bearer_instead_of_client,
    }
