"""Every kind of token at every door: it opens those that it is for, and no other (ASVS 9.2.2).

A new kind of token is one more entry in `TOKENS`, a new door one more in `DOORS`; what is not listed in
`OPENS` must be refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import httpx
import pytest

from authapi.enums import OneTimeTokenPurpose
from authapi.runtime import Runtime
from authapi.security import opaque_tokens
from authapi.services import known_devices, one_time_tokens
from authapi.services.one_time_tokens import PREFIX
from authapi.token_authority import FIRST_PARTY_CLIENT_ID
from tests.support.accounts import Account, Accounts
from tests.support.authenticators import enroll
from tests.support.clients import TOKEN, Client, own_token, register_client
from tests.support.mails import new_address

pytestmark = pytest.mark.one_database

NEW_PASSWORD = "another Horse 8 staple"


@dataclass(frozen=True)
class World:
    """A user who is logged in and has a second factor, and a service client, with the means to knock at doors."""

    http: httpx.AsyncClient
    runtime: Runtime
    account: Account
    service: Client
    recovery_code: str

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
    return opaque_tokens.generate(PREFIX)[0]


async def issue(world: World, purpose: OneTimeTokenPurpose, user_id: UUID | None, **data: object) -> str:
    async with world.runtime.database.unit_of_work() as db:
        return await one_time_tokens.issue(db, world.runtime, purpose=purpose, user_id=user_id, data=data)


async def verification_token(world: World) -> str:
    return await issue(world, OneTimeTokenPurpose.VERIFY_EMAIL, world.account.id)


async def reset_token(world: World) -> str:
    return await issue(world, OneTimeTokenPurpose.RESET_PASSWORD, world.account.id)


async def email_change_token(world: World) -> str:
    return await issue(world, OneTimeTokenPurpose.CHANGE_EMAIL, world.account.id, **to_new_address())


async def email_undo_token(world: World) -> str:
    return await issue(world, OneTimeTokenPurpose.UNDO_EMAIL_CHANGE, world.account.id, **to_new_address())


async def invitation_token(world: World) -> str:
    admin = await Accounts(world.http, world.runtime).admin(new_address())
    data = to_new_address() | {"roles": ["user"], "locale": "en", "inviter_id": str(admin.id)}
    return await issue(world, OneTimeTokenPurpose.ACCEPT_INVITATION, None, **data)


async def mfa_token(world: World) -> str:
    data = {"scope": None, "device_id": None, "client_id": FIRST_PARTY_CLIENT_ID}
    return await issue(world, OneTimeTokenPurpose.LOGIN_SECOND_FACTOR, world.account.id, **data)


def to_new_address() -> dict[str, object]:
    email = new_address()
    return {"email": email, "email_canonical": email}


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


async def second_step(world: World, token: str) -> bool:
    """With a right code: what is refused is the token."""
    body = {"mfa_token": token, "code": world.recovery_code}
    return opened(await world.post("/api/auth/login/mfa", json=body), 401, 422)


async def email_verification(world: World, token: str) -> bool:
    return opened(await world.post("/api/auth/email/verify", json={"token": token}), 400, 422)


async def password_reset(world: World, token: str) -> bool:
    body = {"token": token, "new_password": NEW_PASSWORD}
    return opened(await world.post("/api/auth/password/reset", json=body), 400, 422)


async def email_change(world: World, token: str) -> bool:
    return opened(await world.post("/api/auth/email/change/confirm", json={"token": token}), 400, 422)


async def email_undo(world: World, token: str) -> bool:
    return opened(await world.post("/api/auth/email/change/undo", json={"token": token}), 400, 422)


async def invitation(world: World, token: str) -> bool:
    body = {"token": token, "password": NEW_PASSWORD, "full_name": "Grace Hopper"}
    return opened(await world.post("/api/auth/invitation/accept", json=body), 400, 422)


async def known_device(world: World, token: str) -> bool:
    """Anything else is no device, and no reason to refuse a login."""
    async with world.runtime.database.unit_of_work() as db:
        found = await known_devices.recognise(db, world.runtime, user_id=world.account.id, device_token=token)
    return found is not None


def opened(response: httpx.Response, *refusals: int) -> bool:
    assert response.is_success or response.status_code in refusals, response.text
    return response.is_success


Factory = Callable[[World], Awaitable[str]]
Door = Callable[[World, str], Awaitable[bool]]

TOKENS: list[Factory] = [
    user_access_token,
    client_access_token,
    refresh_token,
    client_secret,
    client_id,
    device_token,
    mfa_token,
    verification_token,
    reset_token,
    email_change_token,
    email_undo_token,
    invitation_token,
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
    second_step,
    email_verification,
    password_reset,
    email_change,
    email_undo,
    invitation,
    known_device,
]
OPENS: dict[Factory, set[Door]] = {
    user_access_token: {bearer_me, bearer_validate, bearer_logout, introspected_as_access_token},
    client_access_token: {bearer_validate, introspected_as_access_token},
    refresh_token: {json_refresh, cookie_refresh, json_logout, refresh_grant, introspected_as_refresh_token},
    client_secret: {client_secret_basic, client_secret_post, client_credentials_grant},
    device_token: {known_device},
    mfa_token: {second_step},
    verification_token: {email_verification},
    reset_token: {password_reset},
    email_change_token: {email_change},
    email_undo_token: {email_undo},
    invitation_token: {invitation},
}


@pytest.fixture
async def world(client: httpx.AsyncClient, runtime: Runtime, accounts: Accounts) -> World:
    account = await accounts.register()
    phone = await enroll(client, account)
    return World(client, runtime, account, await register_client(runtime), phone.recovery_codes[0])


@pytest.mark.parametrize("make_token", TOKENS, ids=lambda factory: factory.__name__)
async def test_a_token_opens_no_other_door(world: World, make_token: Factory) -> None:
    token = await make_token(world)
    for door in DOORS:
        if door not in OPENS.get(make_token, set()):
            assert not await door(world, token), door.__name__


@pytest.mark.parametrize(
    ("make_token", "door"),
    [(make_token, door) for make_token, doors in OPENS.items() for door in DOORS if door in doors],
    ids=lambda function: function.__name__,
)
async def test_a_token_opens_its_own(world: World, make_token: Factory, door: Door) -> None:
    assert await door(world, await make_token(world))


def test_every_door_can_be_opened() -> None:
    """A door that opens for nobody would prove nothing; the user's password opens those two."""
    assert set().union(*OPENS.values()) == set(DOORS) - {
        password_of_the_user,
        password_grant,
        bearer_instead_of_client,
    }
