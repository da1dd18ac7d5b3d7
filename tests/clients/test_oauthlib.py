"""requests-oauthlib and oauthlib against a real server, with the checks that oauthlib itself makes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import requests
from fastapi import FastAPI
from oauthlib.oauth2 import (
    BackendApplicationClient,
    InvalidClientError,
    InvalidGrantError,
    InvalidScopeError,
    LegacyApplicationClient,
)
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from authapi.main import create_app
from authapi.runtime import Runtime
from tests.conftest import make_settings
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.clients import Client, register_client
from tests.support.serving import serve_beside


@pytest.fixture
async def server_url(app: FastAPI, database_url: str) -> AsyncIterator[str]:
    """The service on a port, on the tables that `app` has emptied."""
    settings = make_settings(database_url=database_url, data_dir=app.state.runtime.settings.data_dir)
    async with serve_beside(create_app(settings)) as url:
        yield url


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """oauthlib insists on https, even to loopback."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def users_session(url: str, account: Account, service: Client) -> None:
    scope = ["users:read"]
    with OAuth2Session(client=LegacyApplicationClient(service.client_id, scope=scope)) as session:
        session.trust_env = False
        # Secret in the form: it repeats the client id there when it uses Basic.
        first = session.fetch_token(
            f"{url}/api/auth/token",
            username=account.email,
            password=PASSWORD,
            client_secret=service.client_secret,
            include_client_id=True,
        )
        assert session.get(f"{url}/api/auth/me").json()["data"]["email"] == account.email
        second = session.refresh_token(
            f"{url}/api/auth/token", auth=HTTPBasicAuth(*service.basic), client_id=service.client_id
        )
        assert second["refresh_token"] != first["refresh_token"]
        assert second["scope"] == scope

        target, headers, body = session._client.prepare_token_revocation_request(
            f"{url}/api/auth/revoke", second["refresh_token"], token_type_hint="refresh_token"
        )
        revoked = requests.post(target, body, headers=headers, auth=service.basic, timeout=10)
        assert (revoked.status_code, revoked.content) == (200, b"")
        assert session.get(f"{url}/api/auth/me").status_code == 401
        with pytest.raises(InvalidGrantError):
            session.refresh_token(f"{url}/api/auth/token", auth=HTTPBasicAuth(*service.basic))


def own_token(url: str, service: Client) -> None:
    with OAuth2Session(client=BackendApplicationClient(service.client_id)) as session:
        session.trust_env = False
        tokens = session.fetch_token(f"{url}/api/auth/token", client_secret=service.client_secret)
        assert "refresh_token" not in tokens
        assert tokens["scope"] == ["users:read"]
        with pytest.raises(InvalidScopeError):
            session.fetch_token(
                f"{url}/api/auth/token", client_secret=service.client_secret, scope=["users:write"]
            )
        with pytest.raises(InvalidClientError):
            session.fetch_token(f"{url}/api/auth/token", client_secret="wrong")


def session_without_a_client(url: str, account: Account) -> None:
    # Sends HTTP Basic with an empty secret.
    with OAuth2Session(client=LegacyApplicationClient("authapi")) as session:
        session.trust_env = False
        first = session.fetch_token(
            f"{url}/api/auth/token", username=account.email, password=PASSWORD, client_secret=""
        )
        assert session.refresh_token(f"{url}/api/auth/token")["refresh_token"] != first["refresh_token"]


async def test_a_users_session(server_url: str, runtime: Runtime, accounts: Accounts) -> None:
    account, service = await accounts.admin(), await register_client(runtime)
    await asyncio.to_thread(users_session, server_url, account, service)


async def test_without_a_client(server_url: str, accounts: Accounts) -> None:
    await asyncio.to_thread(session_without_a_client, server_url, await accounts.register())


async def test_a_clients_own_token(server_url: str, runtime: Runtime) -> None:
    service = await register_client(runtime, "users:read")
    await asyncio.to_thread(own_token, server_url, service)
