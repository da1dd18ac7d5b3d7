"""Service clients at the edge of the service: what is stored, what is refused, and races."""

import asyncio
import re
from uuid import UUID

import pytest
from sqlalchemy import select, update

from authapi import clock, errors
from authapi.enums import AuditAction
from authapi.models import AuditEvent, ServiceClient, UserSession
from authapi.repositories import service_clients as repository
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.security import opaque_tokens
from authapi.services import service_clients
from authapi.services.client_credentials import issue_client_token
from authapi.services.user_sessions import open_session
from tests.support.accounts import Account, Accounts
from tests.support.clients import Client, register_client


async def authenticate(runtime: Runtime, client_id: str, client_secret: str) -> ServiceClient:
    async with runtime.database.unit_of_work() as db:
        return await service_clients.authenticate(db, client_id=client_id, client_secret=client_secret)


async def revoke(runtime: Runtime, client: Client) -> None:
    async with runtime.database.unit_of_work() as db:
        await service_clients.revoke_client(db, runtime, client_id=client.client_id)


async def log_in(runtime: Runtime, account: Account, client: Client) -> UUID:
    """The end of a login: the password was right, now the session is opened."""
    async with runtime.database.unit_of_work() as db:
        user = await users.find_for_update(db, account.id)
        assert user is not None
        tokens = await open_session(db, runtime, user=user, amr=["pwd"], client_id=client.client_id)
    return tokens.user_session.id


class TestCreate:
    async def test_only_a_digest_of_the_secret_is_stored(self, runtime: Runtime) -> None:
        client = await register_client(runtime, "users:read", "users:read", "audit:read")
        assert re.fullmatch(r"svc_[0-9a-f]{32}", client.client_id)
        assert re.fullmatch(r"authapi_cs_[A-Za-z0-9_-]{43}", client.client_secret)
        async with runtime.database.reading() as db:
            stored = await repository.find_by_client_id(db, client.client_id)
            event = await db.scalar(select(AuditEvent).where(AuditEvent.action == AuditAction.CLIENT_CREATED))
        assert stored is not None
        assert stored.secret_hash == opaque_tokens.digest(client.client_secret)
        assert stored.scopes == ["audit:read", "users:read"]
        assert event is not None
        assert client.client_secret not in str(event.details)

    @pytest.mark.parametrize("scope", ["", "users:read audit:read", 'a"b', "nobody:knows", "USERS:READ"])
    async def test_scopes_are_names_of_permissions(self, runtime: Runtime, scope: str) -> None:
        with pytest.raises(errors.InvalidScope):
            await register_client(runtime, "users:read", scope)
        async with runtime.database.reading() as db:
            assert await service_clients.list_clients(db) == []

    async def test_scopes_must_fit_into_a_token(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service_clients, "MAX_CLAIM_BYTES", len("users:read") + 1)
        await register_client(runtime, "users:read")
        with pytest.raises(errors.InvalidScope):
            await register_client(runtime, "users:read", "audit:read")


class TestAuthenticate:
    async def test_the_right_secret_only(self, runtime: Runtime) -> None:
        client, other = await register_client(runtime), await register_client(runtime)
        assert (await authenticate(runtime, *client.basic)).client_id == client.client_id
        for client_id, secret in (
            (client.client_id, other.client_secret),
            (client.client_id, ""),
            (client.client_id, opaque_tokens.digest(client.client_secret).hex()),
            (client.client_id, "\ud800"),
            (client.client_id + "\x00", client.client_secret),
            ("svc_" + "0" * 32, client.client_secret),
            ("", ""),
        ):
            with pytest.raises(errors.InvalidClient):
                await authenticate(runtime, client_id, secret)

    async def test_a_revoked_client(self, runtime: Runtime) -> None:
        client = await register_client(runtime)
        await revoke(runtime, client)
        with pytest.raises(errors.InvalidClient) as refused:
            await authenticate(runtime, *client.basic)
        assert refused.value.detail == "client_revoked"


class TestRevoke:
    async def test_an_unknown_and_a_revoked_one(self, runtime: Runtime) -> None:
        client = await register_client(runtime)
        await revoke(runtime, client)
        async with runtime.database.reading() as db:
            before = await repository.find_by_client_id(db, client.client_id)
        await revoke(runtime, client)
        async with runtime.database.reading() as db:
            after = await repository.find_by_client_id(db, client.client_id)
        assert before is not None
        assert after is not None
        assert before.revoked_at == after.revoked_at is not None
        with pytest.raises(errors.ClientNotFound):
            await revoke(runtime, Client("svc_unknown", ""))

    async def test_a_token_signed_after_it_by_who_had_authenticated_before(self, runtime: Runtime) -> None:
        client = await register_client(runtime)
        authenticated = await authenticate(runtime, *client.basic)
        await revoke(runtime, client)
        async with runtime.database.unit_of_work() as db:
            late = await issue_client_token(db, runtime, client=authenticated, scopes=None)
        with pytest.raises(errors.InvalidAccessToken):
            runtime.tokens.verify(late.access_token)

    async def test_its_sessions_are_locked_in_the_order_of_all_who_lock_several(
        self, runtime: Runtime, accounts: Accounts
    ) -> None:
        """Crosswise with a logout everywhere they would deadlock."""
        client, account = await register_client(runtime), await accounts.register()
        opened = [await log_in(runtime, account, client) for _ in range(5)]
        # A row that has changed lies behind the others.
        async with runtime.database.unit_of_work() as db:
            first = update(UserSession).where(UserSession.id == opened[0])
            await db.execute(first.values(ip="203.0.113.9"))
        async with runtime.database.reading() as db:
            listed = await repository.list_sessions(db, client.client_id, expired_before=clock.utc_now())
        assert [row[1] for row in listed] == sorted(opened)

    async def test_a_login_that_was_still_hashing_opens_no_session(
        self, runtime: Runtime, accounts: Accounts
    ) -> None:
        client, account = await register_client(runtime), await accounts.register()
        await authenticate(runtime, *client.basic)
        await revoke(runtime, client)
        with pytest.raises(errors.InvalidClient):
            await log_in(runtime, account, client)

    async def test_no_session_survives_logins_at_the_same_time(
        self, runtime: Runtime, accounts: Accounts
    ) -> None:
        client = await register_client(runtime)
        tasks = [log_in(runtime, await accounts.register(), client) for _ in range(8)]
        results = await asyncio.gather(
            *tasks[:4], revoke(runtime, client), *tasks[4:], return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(failure, errors.InvalidClient) for failure in failures), failures
        async with runtime.database.reading() as db:
            alive = select(UserSession).where(
                UserSession.client_id == client.client_id, UserSession.revoked_at.is_(None)
            )
            assert list(await db.scalars(alive)) == []
