import pytest
from sqlalchemy import select

from authapi import errors
from authapi.models import AuditEvent
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import user_provisioning
from tests.support.accounts import PASSWORD, Accounts


async def provision(runtime: Runtime, email: str, *roles: str) -> None:
    async with runtime.database.unit_of_work() as db:
        await user_provisioning.provision_user(
            db, runtime, email=email, password=PASSWORD, full_name="Ada", role_names=roles or ["user"]
        )


class TestProvisionUser:
    async def test_the_account_can_log_in_and_is_verified(self, accounts: Accounts, runtime: Runtime) -> None:
        await provision(runtime, "Ada@Example.com", "admin", "auditor")
        async with runtime.database.reading() as db:
            user = await users.find_by_email(db, email_canonical="ada@example.com")
            assert user is not None
            assert user.email_verified
            assert user.role_names == ("admin", "auditor")
            (event,) = await db.scalars(select(AuditEvent).where(AuditEvent.subject_id == user.id))
        assert (event.action, event.actor_id) == ("user.created", None)
        assert event.details == {"roles": ["admin", "auditor"], "origin": "command_line"}

    @pytest.mark.parametrize(
        ("email", "roles", "error"),
        [
            ("ADA@example.com", ["user"], errors.EmailTaken),
            ("not an address", ["user"], errors.InvalidEmail),
            ("bob@example.com", ["user", "king"], errors.UnknownRole),
        ],
    )
    async def test_refusals(
        self, runtime: Runtime, email: str, roles: list[str], error: type[errors.AuthApiError]
    ) -> None:
        await provision(runtime, "ada@example.com")
        with pytest.raises(error):
            await provision(runtime, email, *roles)


class TestReplaceRoles:
    async def test_tokens_with_the_old_roles_are_void(self, accounts: Accounts, runtime: Runtime) -> None:
        await accounts.admin()
        account = await accounts.admin("bob@example.com")
        async with runtime.database.unit_of_work() as db:
            await user_provisioning.replace_roles(db, runtime, email="bob@example.com", role_names=["user"])
        async with runtime.database.reading() as db:
            user = await users.find_by_id(db, account.id)
        assert user is not None
        assert user.role_names == ("user",)
        assert user.tokens_not_before is not None

    async def test_the_same_roles_change_nothing(self, accounts: Accounts, runtime: Runtime) -> None:
        account = await accounts.admin()
        async with runtime.database.unit_of_work() as db:
            user = await user_provisioning.replace_roles(
                db, runtime, email=account.email, role_names=["admin"]
            )
        assert user.tokens_not_before is None

    async def test_the_last_admin(self, accounts: Accounts, runtime: Runtime) -> None:
        account = await accounts.admin()
        with pytest.raises(errors.LastAdmin):
            async with runtime.database.unit_of_work() as db:
                await user_provisioning.replace_roles(db, runtime, email=account.email, role_names=["user"])


class TestDisableAndEnable:
    async def test_sessions_end_and_login_works_again(self, accounts: Accounts, runtime: Runtime) -> None:
        account = await accounts.register()
        for _ in range(2):
            async with runtime.database.unit_of_work() as db:
                await user_provisioning.disable_user(db, runtime, email=account.email)
        async with runtime.database.reading() as db:
            actions = list(
                await db.scalars(
                    select(AuditEvent.action)
                    .where(AuditEvent.subject_id == account.id)
                    .order_by(AuditEvent.id)
                )
            )
        assert actions[-2:] == ["session.revoked", "user.disabled"]
        for _ in range(2):
            async with runtime.database.unit_of_work() as db:
                await user_provisioning.enable_user(db, email=account.email)
        assert (await accounts.log_in(account)).access_token

    async def test_a_disabled_admin_is_not_the_last_one(self, accounts: Accounts, runtime: Runtime) -> None:
        account = await accounts.admin()
        other = await accounts.admin()
        async with runtime.database.unit_of_work() as db:
            await user_provisioning.disable_user(db, runtime, email=other.email)
        with pytest.raises(errors.LastAdmin):
            async with runtime.database.unit_of_work() as db:
                await user_provisioning.disable_user(db, runtime, email=account.email)

    @pytest.mark.parametrize("email", ["nobody@example.com", "not an address"])
    async def test_an_unknown_user(self, runtime: Runtime, email: str) -> None:
        with pytest.raises(errors.UserNotFound):
            async with runtime.database.unit_of_work() as db:
                await user_provisioning.enable_user(db, email=email)
