"""Logins whose account changes while the password is being hashed: a quarter of a second is long enough."""

from collections.abc import Awaitable, Callable
from typing import Any

import bcrypt
import pytest
from sqlalchemy import func, select

from authapi import clock, errors
from authapi.enums import AuditAction, Outcome
from authapi.models import AuditEvent, PasswordCredential, User, UserSession
from authapi.repositories import password_credentials, roles, users
from authapi.runtime import Runtime
from authapi.services import login
from authapi.services.user_sessions import SessionTokens
from tests.support.accounts import PASSWORD, Account, Accounts

Change = Callable[[], Awaitable[None]]


async def log_in(runtime: Runtime, account: Account, password: str = PASSWORD) -> SessionTokens:
    async with runtime.database.unit_of_work() as db:
        return await login.log_in(db, runtime, email=account.email, password=password)


async def change_user(runtime: Runtime, account: Account, **values: Any) -> None:
    async with runtime.database.unit_of_work() as db:
        user = await users.find_for_update(db, account.id)
        assert user is not None
        for name, value in values.items():
            setattr(user, name, value)


async def change_password(runtime: Runtime, account: Account, password: str) -> None:
    password_hash = await runtime.hasher.hash(password)
    async with runtime.database.unit_of_work() as db:
        await users.find_for_update(db, account.id)
        await password_credentials.replace(db, user_id=account.id, password_hash=password_hash)


def while_hashing(monkeypatch: pytest.MonkeyPatch, runtime: Runtime, change: Change) -> list[str]:
    """Let `change` happen once, after the first real check of a password; returns a list of the checks."""
    verify, todo, checks = runtime.hasher.verify, [change], list[str]()

    async def interrupted(password: str, password_hash: str) -> Any:
        checks.append(password_hash)
        result = await verify(password, password_hash)
        if todo:
            await todo.pop()()
        return result

    monkeypatch.setattr(runtime.hasher, "verify", interrupted)
    return checks


async def sessions_of(runtime: Runtime, account: Account) -> int:
    async with runtime.database.reading() as db:
        statement = select(func.count()).select_from(UserSession).where(UserSession.user_id == account.id)
        return await db.scalar(statement) or 0


class TestWhileHashing:
    async def test_another_password(
        self, runtime: Runtime, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = await accounts.register()
        before = await sessions_of(runtime, account)
        checks = while_hashing(
            monkeypatch, runtime, lambda: change_password(runtime, account, "another Horse 8 battery")
        )
        with pytest.raises(errors.InvalidCredentials, match="wrong_password"):
            await log_in(runtime, account)
        assert len(set(checks)) == 2
        assert await sessions_of(runtime, account) == before

    async def test_the_same_password_hashed_anew(
        self, runtime: Runtime, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = await accounts.register()
        checks = while_hashing(monkeypatch, runtime, lambda: change_password(runtime, account, PASSWORD))
        assert (await log_in(runtime, account)).user.id == account.id
        assert len(set(checks)) == 2

    async def test_disabled(
        self, runtime: Runtime, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = await accounts.register()
        before = await sessions_of(runtime, account)
        while_hashing(
            monkeypatch, runtime, lambda: change_user(runtime, account, disabled_at=clock.utc_now())
        )
        with pytest.raises(errors.AccountDisabled):
            await log_in(runtime, account)
        assert await sessions_of(runtime, account) == before

    async def test_enabled(
        self, runtime: Runtime, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = await accounts.register()
        await change_user(runtime, account, disabled_at=clock.utc_now())
        while_hashing(monkeypatch, runtime, lambda: change_user(runtime, account, disabled_at=None))
        assert (await log_in(runtime, account)).user.is_active

    async def test_erased(
        self, runtime: Runtime, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = await accounts.register()

        async def erase() -> None:
            async with runtime.database.unit_of_work() as db:
                await users.remove(db, account.id)

        while_hashing(monkeypatch, runtime, erase)
        with pytest.raises(errors.InvalidCredentials):
            await log_in(runtime, account)
        assert await sessions_of(runtime, account) == 0

    async def test_other_roles(
        self, runtime: Runtime, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = await accounts.with_roles("auditor")
        while_hashing(monkeypatch, runtime, lambda: accounts.assign_roles(account, ["user"]))
        tokens = await log_in(runtime, account)
        assert runtime.tokens.verify(tokens.access_token).claims.roles == ("user",)
        assert tokens.scope == ""

    async def test_two_at_once_replace_an_outdated_hash_once(
        self, runtime: Runtime, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = await accounts.register()
        password_hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        async with runtime.database.unit_of_work() as db:
            await password_credentials.replace(db, user_id=account.id, password_hash=password_hash)

        async def another() -> None:
            await log_in(runtime, account)

        while_hashing(monkeypatch, runtime, another)
        await log_in(runtime, account)
        async with runtime.database.reading() as db:
            hashes = select(PasswordCredential.password_hash)
            stored = await db.scalar(hashes.where(PasswordCredential.user_id == account.id))
            rehashed = select(func.count()).select_from(AuditEvent)
            rehashed = rehashed.where(AuditEvent.action == AuditAction.USER_PASSWORD_REHASHED)
            assert await db.scalar(rehashed) == 1
        assert stored != password_hash
        await log_in(runtime, account)


class TestOnRecord:
    @pytest.mark.parametrize(
        ("email", "password", "reason"),
        [
            ("ada@example.com", "wrong", "wrong_password"),
            ("nobody@example.com", PASSWORD, "no_such_user"),
            ("not an address", PASSWORD, "no_such_user"),
        ],
    )
    async def test_a_refused_login_stays(
        self, runtime: Runtime, accounts: Accounts, email: str, password: str, reason: str
    ) -> None:
        await accounts.register("ada@example.com")
        with pytest.raises(errors.InvalidCredentials, match=reason):
            async with runtime.database.unit_of_work() as db:
                await login.log_in(db, runtime, email=email, password=password)
        async with runtime.database.reading() as db:
            found = await db.execute(
                select(AuditEvent.reason, AuditEvent.outcome, User.email)
                .outerjoin(User, User.id == AuditEvent.subject_id)
                .where(AuditEvent.action == AuditAction.USER_LOGIN_FAILED)
            )
            owner = "ada@example.com" if email == "ada@example.com" else None
            assert [tuple(row) for row in found] == [(reason, Outcome.FAILURE, owner)]

    async def test_a_disabled_account_is_told_only_after_the_right_password(
        self, runtime: Runtime, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        await change_user(runtime, account, disabled_at=clock.utc_now())
        with pytest.raises(errors.InvalidCredentials):
            await log_in(runtime, account, "wrong")
        with pytest.raises(errors.AccountDisabled):
            await log_in(runtime, account)


class TestScope:
    async def test_the_session_keeps_what_was_asked_for(self, runtime: Runtime, accounts: Accounts) -> None:
        account = await accounts.with_roles("auditor")
        async with runtime.database.unit_of_work() as db:
            tokens = await login.log_in(
                db, runtime, email=account.email, password=PASSWORD, scope="audit:read users:write"
            )
        assert tokens.scope == "audit:read"
        assert tokens.user_session.scope == "audit:read users:write"
        async with runtime.database.reading() as db:
            found = await roles.find_by_names(db, ["auditor"])
        assert "users:read" in {permission.name for permission in found[0].permissions}
