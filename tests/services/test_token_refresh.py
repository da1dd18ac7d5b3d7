"""What a refresh token is worth: by generation, by age, by the state of its user."""

from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from sqlalchemy import select

from authapi import clock, errors
from authapi.enums import AuditAction
from authapi.models import AuditEvent
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.security.derived_keys import DerivedKeys
from authapi.security.opaque_tokens import RefreshTokenCodec
from authapi.services import token_refresh
from authapi.services.user_sessions import SessionTokens
from tests.services.test_login import change_user
from tests.support.accounts import Accounts


async def refresh(runtime: Runtime, token: str) -> SessionTokens:
    return await token_refresh.refresh(runtime, refresh_token=token)


class TestRefresh:
    async def test_the_grace_is_exact(self, runtime: Runtime, accounts: Accounts) -> None:
        old = (await accounts.register()).data["refresh_token"]
        start = clock.utc_now() + timedelta(minutes=1)
        with time_machine.travel(start, tick=False) as traveller:
            rotated = await refresh(runtime, old)
            traveller.shift(runtime.settings.refresh_token.grace)
            again = await refresh(runtime, old)
            assert again.refresh_token == rotated.refresh_token
            assert again.expires_in == rotated.expires_in == 3600
            claims = runtime.tokens.verify(again.access_token).claims
            # Issued when the pair was, for whoever voids it; valid as long as it says.
            assert claims.iat == int(start.timestamp())
            assert claims.exp == int(clock.utc_now().timestamp()) + 3600
            traveller.shift(timedelta(milliseconds=1))
            with pytest.raises(errors.RefreshTokenReused):
                await refresh(runtime, old)
            with pytest.raises(errors.InvalidRefreshToken, match="session_ended"):
                await refresh(runtime, rotated.refresh_token)

    async def test_a_host_that_is_behind_grants_the_grace_too(
        self, runtime: Runtime, accounts: Accounts
    ) -> None:
        old = (await accounts.register()).data["refresh_token"]
        start = clock.utc_now() + timedelta(minutes=1)
        with time_machine.travel(start, tick=False) as traveller:
            rotated = await refresh(runtime, old)
            traveller.shift(timedelta(seconds=-29))
            assert (await refresh(runtime, old)).refresh_token == rotated.refresh_token
            traveller.shift(timedelta(seconds=-2))
            with pytest.raises(errors.RefreshTokenReused):
                await refresh(runtime, old)

    async def test_a_reuse_is_on_record_once(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.register()
        token = account.data["refresh_token"]
        second = await refresh(runtime, token)
        await refresh(runtime, second.refresh_token)
        with pytest.raises(errors.RefreshTokenReused):
            await refresh(runtime, token)
        with pytest.raises(errors.InvalidRefreshToken, match="session_ended"):
            await refresh(runtime, token)
        async with runtime.database.reading() as db:
            events = select(AuditEvent).where(AuditEvent.action == AuditAction.SESSION_REFRESH_REUSE_DETECTED)
            (event,) = await db.scalars(events)
        assert event.subject_id == account.id
        assert event.details == {"generation": 0, "current": 2}

    async def test_rights_are_read_anew(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.with_roles("auditor")
        await accounts.assign_roles(account, ["user"])
        tokens = await refresh(runtime, account.data["refresh_token"])
        assert runtime.tokens.verify(tokens.access_token).claims.roles == ("user",)

    async def test_a_disabled_user_whose_session_lives_on(self, runtime: Runtime, accounts: Accounts) -> None:
        """Not what disabling leaves behind; but whatever did, must not get tokens, nor use up his own."""
        account = await accounts.register()
        token = account.data["refresh_token"]
        await change_user(runtime, account, disabled_at=clock.utc_now())
        with pytest.raises(errors.InvalidRefreshToken, match="account_gone_or_disabled"):
            await refresh(runtime, token)
        await change_user(runtime, account, disabled_at=None)
        assert (await refresh(runtime, token)).user_session.generation == 1

    async def test_an_erased_user(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.register()
        async with runtime.database.unit_of_work() as db:
            await users.remove(db, account.id)
        with pytest.raises(errors.InvalidRefreshToken, match="no_such_session"):
            await refresh(runtime, account.data["refresh_token"])

    @pytest.mark.parametrize("token", ["", "authapi_rt_", "x" * 87, "\ud800", "authapi_rt_" + "A" * 76])
    async def test_what_is_none(self, runtime: Runtime, token: str) -> None:
        with pytest.raises(errors.InvalidRefreshToken, match="malformed"):
            await refresh(runtime, token)

    async def test_of_another_installation(self, runtime: Runtime, accounts: Accounts) -> None:
        parts = runtime.refresh_tokens.parse((await accounts.register()).data["refresh_token"])
        other = RefreshTokenCodec(DerivedKeys(b"the secret key of another installation"))
        with pytest.raises(errors.InvalidRefreshToken, match="malformed"):
            await refresh(runtime, other.issue(parts.session_id, parts.generation))


class TestFindSessionOwner:
    async def test_any_generation_of_a_known_session(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.register()
        session_id = runtime.refresh_tokens.parse(account.data["refresh_token"]).session_id
        for generation in (0, 7):
            token = runtime.refresh_tokens.issue(session_id, generation)
            async with runtime.database.reading() as db:
                user, found = await token_refresh.find_session_owner(db, runtime, refresh_token=token)
            assert (user.id, found.id) == (account.id, session_id)

    async def test_an_unknown_session(self, runtime: Runtime) -> None:
        token = runtime.refresh_tokens.issue(uuid4(), 0)
        with pytest.raises(errors.InvalidRefreshToken, match="no_such_session"):
            async with runtime.database.reading() as db:
                await token_refresh.find_session_owner(db, runtime, refresh_token=token)
