"""Authlib's OAuth2 client against a real server: what it sends by itself is what the endpoints take."""

import warnings
from collections.abc import AsyncIterator
from typing import Any

import authlib.deprecate
import pytest
from authlib.integrations.base_client import OAuthError
from fastapi import FastAPI

from authapi.main import create_app
from authapi.runtime import Runtime
from tests.conftest import make_settings
from tests.support.accounts import PASSWORD, Accounts
from tests.support.clients import Client, register_client
from tests.support.serving import serve_beside

with warnings.catch_warnings():
    # It wants httpx2, which nothing here has; its own filter comes with the module imported above.
    warnings.filterwarnings(
        "ignore", "The httpx module is deprecated", authlib.deprecate.AuthlibDeprecationWarning
    )
    from authlib.integrations.httpx_client import AsyncOAuth2Client

METHODS = ["client_secret_basic", "client_secret_post"]


@pytest.fixture
async def server_url(app: FastAPI, database_url: str) -> AsyncIterator[str]:
    """The service on a port, on the tables that `app` has emptied."""
    settings = make_settings(database_url=database_url, data_dir=app.state.runtime.settings.data_dir)
    async with serve_beside(create_app(settings)) as url:
        yield url


@pytest.fixture
async def service(runtime: Runtime) -> Client:
    return await register_client(runtime, "users:read", "revocations:read")


@pytest.fixture(params=METHODS)
async def oauth(
    request: pytest.FixtureRequest, server_url: str, service: Client
) -> AsyncIterator[AsyncOAuth2Client]:
    async with AsyncOAuth2Client(
        service.client_id,
        service.client_secret,
        token_endpoint=f"{server_url}/api/auth/token",
        token_endpoint_auth_method=request.param,
        revocation_endpoint_auth_method=request.param,
        trust_env=False,
    ) as oauth:
        yield oauth


async def introspect(oauth: AsyncOAuth2Client, url: str, token: str, hint: str) -> dict[str, Any]:
    response = await oauth.introspect_token(f"{url}/api/auth/introspect", token=token, token_type_hint=hint)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_a_users_session(oauth: AsyncOAuth2Client, server_url: str, accounts: Accounts) -> None:
    account = await accounts.admin()
    tokens = await oauth.fetch_token(username=account.email, password=PASSWORD, scope="users:read")
    assert tokens["scope"] == "users:read"
    me = await oauth.get(f"{server_url}/api/auth/me")
    assert me.json()["data"]["email"] == account.email

    first = dict(tokens)
    second = await oauth.refresh_token()
    assert second["refresh_token"] != first["refresh_token"]
    active = await introspect(oauth, server_url, second["access_token"], "access_token")
    assert (active["active"], active["username"]) == (True, account.email)
    assert (await introspect(oauth, server_url, second["refresh_token"], "refresh_token"))["active"] is True

    revoked = await oauth.revoke_token(f"{server_url}/api/auth/revoke", token=second["refresh_token"])
    assert revoked.status_code == 200
    assert await introspect(oauth, server_url, second["access_token"], "access_token") == {"active": False}
    assert (await oauth.get(f"{server_url}/api/auth/me")).status_code == 401
    with pytest.raises(OAuthError) as refused:
        await oauth.refresh_token(refresh_token=second["refresh_token"])
    assert refused.value.error == "invalid_grant"


async def test_a_clients_own_token(oauth: AsyncOAuth2Client, server_url: str, service: Client) -> None:
    tokens = await oauth.fetch_token(grant_type="client_credentials", scope="revocations:read")
    assert "refresh_token" not in tokens
    active = await introspect(oauth, server_url, tokens["access_token"], "access_token")
    assert (active["sub"], active["scope"]) == (service.client_id, "revocations:read")
    with pytest.raises(OAuthError) as refused:
        await oauth.fetch_token(grant_type="client_credentials", scope="users:write")
    assert refused.value.error == "invalid_scope"


async def test_a_wrong_secret(server_url: str, service: Client) -> None:
    for method in METHODS:
        async with AsyncOAuth2Client(
            service.client_id, "wrong", token_endpoint_auth_method=method, trust_env=False
        ) as oauth:
            with pytest.raises(OAuthError) as refused:
                await oauth.fetch_token(f"{server_url}/api/auth/token", grant_type="client_credentials")
            assert refused.value.error == "invalid_client"


async def test_without_a_client(server_url: str, accounts: Accounts) -> None:
    account = await accounts.register()
    async with AsyncOAuth2Client(
        "authapi",
        token_endpoint=f"{server_url}/api/auth/token",
        token_endpoint_auth_method="none",
        trust_env=False,
    ) as oauth:
        first = await oauth.fetch_token(username=account.email, password=PASSWORD)
        assert (await oauth.refresh_token())["refresh_token"] != first["refresh_token"]
        with pytest.raises(OAuthError) as refused:
            await oauth.fetch_token(username=account.email, password="wrong")
        assert refused.value.error == "invalid_grant"
