"""The public keys and the metadata, as strangers look them up."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import time_machine
from fastapi import FastAPI

from authapi import clock
from authapi.security.signing_keys import VerifyingKey, thumbprint
from authapi.services.key_keeper import KeyKeeper
from authapi.services.key_rotation import PUBLISH_LEAD, rotate
from authapi.services.signing_keys import generate_key
from tests.conftest import MakeApp, http_client, make_settings, running_app

pytestmark = pytest.mark.one_database

JWKS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"
PUBLIC_MEMBERS = {
    "EC": {"kty", "use", "alg", "kid", "crv", "x", "y"},
    "RSA": {"kty", "use", "alg", "kid", "n", "e"},
}


async def published(client: httpx.AsyncClient) -> list[str]:
    return [key["kid"] for key in (await client.get(JWKS)).json()["keys"]]


async def publish_next(app: FastAPI) -> str:
    runtime = app.state.runtime
    async with runtime.database.unit_of_work() as db:
        row = await rotate(db, runtime, fresh=await generate_key(runtime))
    await KeyKeeper(runtime).reload()
    return row.kid


class TestJwks:
    @pytest.mark.parametrize(("algorithm", "kty"), [("ES256", "EC"), ("RS256", "RSA")])
    async def test_public_members_only(self, no_keys: str, tmp_path: Path, algorithm: str, kty: str) -> None:
        settings = make_settings(
            database_url=no_keys, data_dir=tmp_path, access_token={"algorithm": algorithm}
        )
        async with running_app(settings) as app, http_client(app) as client:
            (key,) = (await client.get(JWKS)).json()["keys"]
        assert key.keys() == PUBLIC_MEMBERS[kty]
        assert (key["kty"], key["use"], key["alg"]) == (kty, "sig", algorithm)
        assert key["kid"] == thumbprint(key) == VerifyingKey.from_public_jwk(key).kid

    async def test_headers(self, client: httpx.AsyncClient) -> None:
        for method in ("GET", "HEAD"):
            response = await client.request(method, JWKS)
            assert response.status_code == 200
            assert response.headers["cache-control"] == "public, max-age=300"
            assert response.headers["content-type"] == "application/json"
        assert response.content == b""

    async def test_hs256_publishes_nothing(self, make_app: MakeApp) -> None:
        hs256 = {"algorithm": "HS256", "secret": "a shared secret of more than 32 bytes"}
        # The shared database has a key of another algorithm, which only this application does not know.
        async with make_app(access_token=hs256) as app, http_client(app) as client:
            kids = {
                timed.key.kid for timed in app.state.runtime.tokens.keys if timed.key.algorithm == "HS256"
            }
            assert len(kids) == 1
            assert kids.isdisjoint(await published(client))

    async def test_next_current_and_retired(self, no_keys: str, tmp_path: Path) -> None:
        settings = make_settings(database_url=no_keys, data_dir=tmp_path)
        async with running_app(settings) as app, http_client(app) as client:
            (first,) = await published(client)
            second = await publish_next(app)
            assert await published(client) == [second, first]
            with time_machine.travel(clock.utc_now(), tick=False) as traveller:
                traveller.shift(PUBLISH_LEAD + settings.access_token.lifetime)
                assert await published(client) == [second, first]
                traveller.shift(clock.SKEW_MARGIN)
                assert await published(client) == [second]

    async def test_without_the_database(self, client: httpx.AsyncClient, app: FastAPI) -> None:
        async with app.state.runtime.database.engine.connect() as connection:
            before = app.state.runtime.database.engine.pool.status()
            assert (await client.get(JWKS)).status_code == 200
            assert app.state.runtime.database.engine.pool.status() == before
            await connection.rollback()

    async def test_the_limit_of_public_routes(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"public": "2/minute"}) as app, http_client(app) as client:
            for path in (JWKS, METADATA):
                statuses = [(await client.get(path)).status_code for _ in range(3)]
                assert statuses == [200, 200, 429]


class TestMetadata:
    async def test_what_it_says(self, make_app: MakeApp) -> None:
        async with make_app(public_url="https://auth.example.com") as app, http_client(app) as client:
            response = await client.get(METADATA)
            assert response.headers["cache-control"] == "public, max-age=300"
            assert response.headers["content-type"] == "application/json"
            metadata = response.json()
            assert metadata["issuer"] == app.state.runtime.tokens.issuer == "https://auth.example.com"
            assert metadata["jwks_uri"] == f"https://auth.example.com{JWKS}"
            assert metadata["token_endpoint"] == "https://auth.example.com/api/auth/token"
            assert metadata["response_types_supported"] == []
            assert "users:read" in metadata["scopes_supported"]
            assert None not in metadata.values()
            assert (await client.head(METADATA)).status_code == 200

    async def test_another_issuer_does_not_move_the_endpoints(self, make_app: MakeApp) -> None:
        issuer = {"issuer": "https://issuer.example.com"}
        async with (
            make_app(public_url="https://auth.example.com", access_token=issuer) as app,
            http_client(app) as client,
        ):
            metadata = (await client.get(METADATA)).json()
        assert metadata["issuer"] == "https://issuer.example.com"
        assert metadata["jwks_uri"].startswith("https://auth.example.com/")

    async def test_every_endpoint_exists(self, client: httpx.AsyncClient) -> None:
        metadata = (await client.get(METADATA)).json()
        endpoints = {name: url for name, url in metadata.items() if name.endswith(("_endpoint", "_uri"))}
        assert endpoints.keys() >= {"token_endpoint", "jwks_uri"}
        for name, url in endpoints.items():
            method = "GET" if name == "jwks_uri" else "POST"
            response = await client.request(method, httpx.URL(url).path)
            assert response.status_code in {200, 400, 401}, (name, response.text)

    async def test_exactly_the_grants_that_work(self, client: httpx.AsyncClient) -> None:
        supported = set((await client.get(METADATA)).json()["grant_types_supported"])
        candidates = {"password", "refresh_token", "client_credentials", "authorization_code", "implicit"}
        understood = set()
        for grant in candidates:
            response = await client.post("/api/auth/token", data={"grant_type": grant})
            if response.json()["error"] != "unsupported_grant_type":
                understood.add(grant)
        assert understood == supported

    async def test_client_authentication_stands_for_clients(self, client: httpx.AsyncClient) -> None:
        metadata = (await client.get(METADATA)).json()
        methods = set(metadata["token_endpoint_auth_methods_supported"])
        has_clients = "client_credentials" in metadata["grant_types_supported"]
        assert methods == ({"none", "client_secret_basic", "client_secret_post"} if has_clients else {"none"})


async def test_the_next_key_is_published_longer_than_it_may_be_cached() -> None:
    assert timedelta(seconds=300) * 2 <= PUBLISH_LEAD
