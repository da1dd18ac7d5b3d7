"""Registration at the edge of the service, and what happens meanwhile."""

from typing import Any

import pytest
from sqlalchemy import func, select

from authapi import errors
from authapi.models import PasswordCredential, User, UserSession
from authapi.runtime import Runtime
from authapi.services import registration
from authapi.services.user_sessions import SessionTokens
from tests.conftest import MakeApp
from tests.support.accounts import PASSWORD


async def register(runtime: Runtime, email: str = "ada@example.com", **fields: Any) -> SessionTokens | None:
    values = {"password": PASSWORD, "full_name": "Ada"} | fields
    async with runtime.database.unit_of_work() as db:
        return await registration.register(db, runtime, email=email, **values)


async def count(runtime: Runtime, model: Any) -> int:
    async with runtime.database.reading() as db:
        return await db.scalar(select(func.count()).select_from(model)) or 0


class TestRegister:
    async def test_account_password_role_and_session(self, runtime: Runtime) -> None:
        tokens = await register(runtime, "Ada@Example.com", phone="+44 20 7946")
        assert tokens is not None
        assert tokens.user.email == "Ada@Example.com"
        assert tokens.user.email_canonical == "ada@example.com"
        assert tokens.user.role_names == ("user",)
        claims = runtime.tokens.verify(tokens.access_token).claims
        assert claims.amr == ("pwd",)

    @pytest.mark.parametrize(
        ("error", "fields"),
        [
            (errors.InvalidEmail, {"email": "not an address"}),
            (errors.WeakPassword, {"password": "short"}),
            (errors.WeakPassword, {"password": "ada@example.com"}),
        ],
    )
    async def test_refusals_leave_nothing(
        self, runtime: Runtime, error: type[errors.AuthApiError], fields: dict[str, str]
    ) -> None:
        with pytest.raises(error):
            await register(runtime, **fields)
        for model in (User, PasswordCredential, UserSession):
            assert await count(runtime, model) == 0

    async def test_a_taken_address_costs_no_hash(self, runtime: Runtime) -> None:
        await register(runtime)
        before = runtime.hasher.pool.hashes_total
        with pytest.raises(errors.EmailTaken):
            await register(runtime, "ADA@example.com")
        assert runtime.hasher.pool.hashes_total == before

    async def test_another_host_is_faster_while_the_password_is_hashed(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two hosts do not know of each other's turns; the unique constraint does."""
        other = Runtime.build(runtime.settings)
        other.tokens.use_keys(runtime.tokens.keys)
        hash_password, todo = runtime.hasher.hash, [True]

        async def interrupted(password: str) -> str:
            if todo:
                todo.pop()
                await register(other, "ADA@example.com")
            return await hash_password(password)

        monkeypatch.setattr(runtime.hasher, "hash", interrupted)
        with pytest.raises(errors.EmailTaken):
            await register(runtime)
        for model in (User, PasswordCredential, UserSession):
            assert await count(runtime, model) == 1
        await other.close()

    async def test_closed(self, make_app: MakeApp) -> None:
        async with make_app(registration={"mode": "closed"}) as app:
            with pytest.raises(errors.RegistrationClosed):
                await register(app.state.runtime)
