"""The verifier with a real authapi, in an app, and on its own."""

import ast
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI

import authapi
from authapi.runtime import Runtime
from authapi.services import service_clients
from authapi.verify import (
    AccessTokenClaims,
    CurrentClaims,
    InvalidAccessToken,
    Verifier,
    current_claims,
    require_scope,
)
from authapi.verify.keys import JWKS_PATH
from tests.conftest import http_client
from tests.support.accounts import Accounts
from tests.support.signed_tokens import bearer, clients_token, users_token
from tests.verify.troubled_authapi import AUDIENCE, ISSUER, TroubledAuthapi

SOURCES = Path(authapi.__file__).parent


@pytest.fixture
async def verifier(runtime: Runtime, authapi_url: str) -> AsyncIterator[Verifier]:
    """A verifier that follows with a service client's secret, which needs no scope."""
    async with runtime.database.unit_of_work() as db:
        client, secret = await service_clients.create_client(db, name="orders", scopes=[])
    made = Verifier(
        issuer=runtime.tokens.issuer, url=authapi_url, client_id=client.client_id, client_secret=secret
    )
    async with made:
        yield made


async def is_refused_within(seconds: float, verifier: Verifier, token: str) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            await verifier.verify(token)
        except InvalidAccessToken:
            return True
        await asyncio.sleep(0.02)
    return False


class TestWithAuthapi:
    async def test_a_login_is_accepted_and_its_logout_known(
        self, client: httpx.AsyncClient, accounts: Accounts, verifier: Verifier
    ) -> None:
        account = await accounts.register()
        assert (await verifier.verify(account.access_token)).email == account.email
        # The logout happens on one host, the feed comes from another one.
        await client.post("/api/auth/logout", headers=account.headers)
        assert await is_refused_within(2, verifier, account.access_token)
        again = await accounts.log_in(account)
        assert (await verifier.verify(again.access_token)).email == account.email

    async def test_a_revoked_client_is_known(self, runtime: Runtime, verifier: Verifier) -> None:
        async with runtime.database.unit_of_work() as db:
            other, _ = await service_clients.create_client(db, name="billing", scopes=[])
        token = clients_token(runtime, client_id=other.client_id)
        assert (await verifier.verify(token)).is_service_client
        async with runtime.database.unit_of_work() as db:
            await service_clients.revoke_client(db, runtime, client_id=other.client_id)
        assert await is_refused_within(2, verifier, token)

    async def test_a_bearer_token_opens_the_feed(self, runtime: Runtime, authapi_url: str) -> None:
        feed_token = users_token(runtime, scope="revocations:read")
        async with Verifier(issuer=runtime.tokens.issuer, url=authapi_url, feed_token=feed_token) as verifier:
            await verifier.verify(users_token(runtime))


def build_service(verifier: Verifier, *, by_app: bool) -> FastAPI:
    """A resource service; its guards find the verifier in the app or hold it themselves."""
    app = FastAPI(lifespan=verifier.lifespan if by_app else None)
    guard: Any = require_scope if by_app else verifier.require_scope

    @app.get("/orders", dependencies=[Depends(guard("orders:read"))])
    async def list_orders() -> list[str]:
        return []

    claims_of_request = current_claims if by_app else verifier.dependency

    @app.get("/me")
    async def me(claims: Annotated[AccessTokenClaims, Depends(claims_of_request)]) -> str | None:
        return claims.email

    @app.get("/whoami")
    async def whoami(claims: CurrentClaims) -> str | None:
        return claims.email

    @app.delete("/orders")
    async def delete_orders(
        claims: Annotated[AccessTokenClaims, Depends(guard("orders:read", "orders:write"))],
    ) -> str:
        return claims.sub

    return app


class TestInAnApp:
    @pytest.fixture(params=[True, False], ids=["require_scope", "verifier.require_scope"])
    async def service(
        self, request: pytest.FixtureRequest, troubled: TroubledAuthapi
    ) -> AsyncIterator[httpx.AsyncClient]:
        verifier = Verifier(
            issuer=ISSUER,
            audience=AUDIENCE,
            url=troubled.url,
            feed_token="t",
            max_staleness=timedelta(seconds=5),
        )
        app = build_service(verifier, by_app=request.param)
        async with verifier.lifespan(app), http_client(app) as client:
            yield client

    async def test_answers(self, service: httpx.AsyncClient, troubled: TroubledAuthapi) -> None:
        reader, writer = troubled.token(scope="orders:read"), troubled.token(scope="orders:read orders:write")
        for method, path, headers, status in (
            ("GET", "/orders", bearer(reader), 200),
            ("GET", "/orders", bearer(troubled.token()), 403),
            ("GET", "/orders", bearer("x"), 401),
            ("GET", "/orders", {}, 401),
            ("GET", "/orders", {"Authorization": "Basic YTpi"}, 401),
            ("DELETE", "/orders", bearer(writer), 200),
            ("DELETE", "/orders", bearer(reader), 403),
            ("GET", "/me", bearer(troubled.token()), 200),
            ("GET", "/me", {}, 401),
            ("GET", "/whoami", bearer(reader), 200),
        ):
            response = await service.request(method, path, headers=headers)
            assert response.status_code == status, (method, path, headers)

    async def test_challenges(self, service: httpx.AsyncClient, troubled: TroubledAuthapi) -> None:
        for headers, challenge in (
            ({}, "Bearer"),
            (bearer("x"), 'Bearer error="invalid_token"'),
            (bearer(troubled.token()), 'Bearer error="insufficient_scope", scope="orders:read"'),
        ):
            response = await service.get("/orders", headers=headers)
            assert response.headers["www-authenticate"] == challenge

    async def test_the_documentation_shows_it(self, service: httpx.AsyncClient) -> None:
        document = (await service.get("/openapi.json")).json()
        assert document["paths"]["/orders"]["get"]["security"] == [{"authapi": []}]


class TestWithoutAuthapi:
    async def test_503(self, troubled: TroubledAuthapi) -> None:
        troubled.status[JWKS_PATH] = 500
        verifier = Verifier(issuer=ISSUER, audience=AUDIENCE, url=troubled.url, revocations=False)
        app = build_service(verifier, by_app=True)
        async with verifier.lifespan(app), http_client(app) as client:
            response = await client.get("/orders", headers=bearer(troubled.token(scope="orders:read")))
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"

    async def test_an_app_without_a_verifier(self, troubled: TroubledAuthapi) -> None:
        app = build_service(Verifier(issuer=ISSUER, revocations=False), by_app=True)
        async with http_client(app) as client:
            with pytest.raises(RuntimeError, match="lifespan"):
                await client.get("/orders", headers=bearer("x"))


class TestConstruction:
    @pytest.mark.parametrize(
        "issuer",
        [
            "http://auth.example.com",
            "http://10.0.0.1",
            "http://localhost.evil.example",
            "ftp://auth.example.com",
            "auth.example.com",
            "https://",
            "https://user:pw@auth.example.com",
            "https://auth.example.com/?x=1",
            "https://auth.example.com/#x",
        ],
    )
    def test_unsafe_addresses(self, issuer: str) -> None:
        with pytest.raises(ValueError, match="must be"):
            Verifier(issuer=issuer, revocations=False)

    @pytest.mark.parametrize(
        "issuer",
        ["https://auth.example.com", "https://example.com/auth/", "http://127.0.0.1:5001", "http://[::1]"],
    )
    def test_safe_addresses(self, issuer: str) -> None:
        Verifier(issuer=issuer, revocations=False)

    def test_a_closed_network(self) -> None:
        Verifier(issuer=ISSUER, url="http://authapi:5001", revocations=False, allow_plain_http=True)

    @pytest.mark.parametrize("given", [{}, {"client_id": "x"}, {"client_secret": "x"}])
    def test_credentials_are_needed_for_revocations(self, given: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="feed_token"):
            Verifier(issuer=ISSUER, **given)  # type: ignore[arg-type]

    def test_a_scope_must_be_named(self) -> None:
        for scopes in ((), ("",)):
            with pytest.raises(ValueError, match="at least one"):
                require_scope(*scopes)


class TestIndependence:
    def test_the_server_is_not_imported(self) -> None:
        code = "import sys, authapi.verify; print(*sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        loaded = set(run.stdout.split())
        for name in ("settings", "database", "runtime", "main", "services", "repositories", "models", "api"):
            assert f"authapi.{name}" not in loaded
        assert loaded.isdisjoint(
            {"sqlalchemy", "slowapi", "redis", "passlib", "pydantic_settings", "structlog"}
        )

    def test_httpx_is_imported_in_one_file_a_server(self) -> None:
        importing = set()
        for path in SOURCES.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] == "httpx" for name in names):
                    importing.add(str(path.relative_to(SOURCES)))
        # Each calls one server: the range API of breached passwords, and the issuer.
        assert importing == {"breached_passwords.py", "verify/http.py"}
