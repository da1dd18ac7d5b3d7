"""A whole installation moves to PostgreSQL, and nobody who was logged in notices."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pyotp
import pytest
from sqlalchemy import Row, Table, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, migrations
from authapi.database import Database
from authapi.models import Permission, Revocation, Role, User, role_permissions
from authapi.repositories import revocations, whole_tables
from authapi.runtime import Runtime
from authapi.services import audit_chain, user_import
from authapi.services.promotion import PromotionRefused, promote
from authapi.services.user_files import Line
from authapi.settings import Settings
from tests.conftest import http_client, make_settings, running_app
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.support.command import clean_environment
from tests.support.postgres import PostgresServer

USERS = 2000


@pytest.fixture
def source_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'authapi.sqlite3'}"


@pytest.fixture
def target_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database without a schema."""
    name = f"promotion_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


async def move(source_url: str, target_url: str) -> dict[str, int]:
    moved = await promote(source_url=source_url, target_url=target_url, on_progress=lambda *_: None)
    return {table.name: table.rows for table in moved}


async def fill(runtime: Runtime, count: int) -> None:
    """Add users by the thousand."""
    password_hash = await runtime.hasher.hash(PASSWORD)
    values = [
        {"email": f"many{number}@example.com", "password_hash": password_hash, "full_name": f"Ada {number}"}
        for number in range(count)
    ]
    lines = [Line(number, value) for number, value in enumerate(values, 1)]
    await user_import.import_users(runtime, lines, on_batch=lambda _: None)


async def rows_by_table(url: str) -> dict[str, set[str]]:
    """Every row of every table, comparable between databases."""
    async with opened(url) as database, database.reading() as db:
        return {
            table.name: {_comparable(row) for row in await db.execute(select(table))}
            for table in whole_tables.TABLES
        }


def _comparable(row: Row[Any]) -> str:
    # The number of a transaction belongs to its server.
    return repr({name: value for name, value in row._mapping.items() if name != "transaction_id"})


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=1)
    try:
        yield database
    finally:
        await database.close()


class Holder:
    """A person with everything that an installation keeps for people."""

    def __init__(self, account: Account, totp_secret: str, revoked: Account) -> None:
        self.account, self.totp_secret, self.revoked = account, totp_secret, revoked


async def enroll(client: httpx.AsyncClient, account: Account) -> str:
    started = await client.post("/api/auth/mfa/totp", json={"password": PASSWORD}, headers=account.headers)
    secret: str = started.json()["data"]["secret"]
    # The code of the step before: the present one stays unused.
    code = pyotp.TOTP(secret).at(int(clock.utc_now().timestamp()) - 30)
    confirmed = await client.post("/api/auth/mfa/totp/confirm", json={"code": code}, headers=account.headers)
    assert confirmed.status_code == 200, confirmed.text
    return secret


async def live_on_sqlite(settings: Settings) -> Holder:
    await migrations.upgrade(settings.database_url)
    async with running_app(settings) as app, http_client(app) as client:
        accounts = Accounts(client, app.state.runtime)
        account = await accounts.register("ada@example.com")
        revoked = await accounts.log_in(account)
        logout = await client.post("/api/auth/logout", headers=revoked.headers)
        assert logout.status_code == 200
        secret = await enroll(client, account)
        async with app.state.runtime.database.unit_of_work() as db:
            db.add(Role(name="editor", rank=30, permissions=[Permission(name="articles:write")]))
        await accounts.assign_roles(account, ["user", "editor"])
        await fill(app.state.runtime, USERS)
        while True:
            async with app.state.runtime.database.unit_of_work() as db:
                if not await audit_chain.seal(db, app.state.runtime):
                    return Holder(account, secret, revoked)


class TestPromote:
    async def test_nobody_notices(self, source_url: str, target_url: str, tmp_path: Path) -> None:
        old = make_settings(database_url=source_url, data_dir=tmp_path)
        holder = await live_on_sqlite(old)
        before = await rows_by_table(source_url)

        moved = await move(source_url, target_url)

        assert moved["users"] == USERS + 1
        assert moved == {name: len(rows) for name, rows in before.items()}
        after = await rows_by_table(target_url)
        events = after.pop("audit_events")
        assert before.pop("audit_events") < events
        assert any("installation.moved" in event for event in events)
        assert after == before
        new = make_settings(database_url=target_url, data_dir=tmp_path)
        async with running_app(new) as app, http_client(app) as client:
            await self.check_tokens(client, holder)
            await self.check_logins(client, holder)
            await self.check_trail(app.state.runtime)

    async def check_tokens(self, client: httpx.AsyncClient, holder: Holder) -> None:
        me = await client.get("/api/auth/me", headers=holder.account.headers)
        assert me.status_code == 200
        gone = await client.get("/api/auth/me", headers=holder.revoked.headers)
        assert gone.json()["error"]["code"] == "invalid_token"
        refresh = {"refresh_token": holder.account.data["refresh_token"]}
        fresh = await client.post("/api/auth/refresh", json=refresh)
        assert fresh.status_code == 200
        headers = {"Authorization": f"Bearer {fresh.json()['data']['access_token']}"}
        profile = (await client.get("/api/auth/me", headers=headers)).json()["data"]
        assert (profile["roles"], profile["scopes"]) == (["editor", "user"], ["articles:write"])
        gone = await client.post(
            "/api/auth/refresh", json={"refresh_token": holder.revoked.data["refresh_token"]}
        )
        assert gone.status_code == 401

    async def check_logins(self, client: httpx.AsyncClient, holder: Holder) -> None:
        body = {"email": f"many{USERS - 1}@example.com", "password": PASSWORD}
        assert (await client.post("/api/auth/login", json=body)).status_code == 200
        login = await client.post(
            "/api/auth/login", json={"email": holder.account.email, "password": PASSWORD}
        )
        data = login.json()["data"]
        assert data["mfa_required"] is True
        code = pyotp.TOTP(holder.totp_secret).at(clock.utc_now())
        second = await client.post("/api/auth/login/mfa", json={"mfa_token": data["mfa_token"], "code": code})
        assert second.status_code == 200, second.text

    async def check_trail(self, runtime: Runtime) -> None:
        async with runtime.database.reading() as db:
            report = await audit_chain.verify(db, runtime)
        assert report.broken is None
        assert report.checked > 5

    async def test_revocations_go_on(self, source_url: str, target_url: str) -> None:
        await migrations.upgrade(source_url)
        now = clock.utc_now()
        async with opened(source_url) as source, source.unit_of_work() as db:
            await revocations.add_sessions(
                db, [uuid4(), uuid4()], expires_at=now.replace(year=now.year + 1), created_at=now
            )
            position = (await revocations.read_on(db, position=0, now=now)).position
        await move(source_url, target_url)
        async with opened(target_url) as target, target.unit_of_work() as db:
            # Whoever has followed the old database reads them once more rather than missing one.
            assert len((await revocations.read_on(db, position=position, now=now)).revocations) == 2
            await revocations.add_sessions(
                db, [uuid4()], expires_at=now.replace(year=now.year + 1), created_at=now
            )
            ids = list(await db.scalars(select(Revocation.id).order_by(Revocation.id)))
        assert ids == [1, 2, 3]

    async def test_an_empty_installation(self, source_url: str, target_url: str) -> None:
        await migrations.upgrade(source_url)
        await migrations.upgrade(target_url)
        moved = await move(source_url, target_url)
        assert moved["users"] == 0
        assert (await rows_by_table(target_url))["roles"] == (await rows_by_table(source_url))["roles"]


class TestRefusals:
    async def test_a_target_with_users(self, source_url: str, target_url: str) -> None:
        await migrations.upgrade(source_url)
        await migrations.upgrade(target_url)
        async with opened(target_url) as target, target.unit_of_work() as db:
            db.add(User(email="b@example.com", email_canonical="b@example.com", full_name="Bob"))
        with pytest.raises(PromotionRefused, match="not empty, it has 1 users"):
            await move(source_url, target_url)
        # What is there stays.
        assert len((await rows_by_table(target_url))["users"]) == 1

    async def test_twice(self, source_url: str, target_url: str) -> None:
        await migrations.upgrade(source_url)
        await move(source_url, target_url)
        with pytest.raises(PromotionRefused, match="1 audit_events"):
            await move(source_url, target_url)

    async def test_a_running_service(self, source_url: str, target_url: str, tmp_path: Path) -> None:
        await migrations.upgrade(source_url)
        async with running_app(make_settings(database_url=source_url, data_dir=tmp_path)):
            with pytest.raises(PromotionRefused, match="stop the service"):
                await move(source_url, target_url)
        assert await rows_of_schema(target_url) == 0

    async def test_no_source(self, source_url: str, target_url: str, tmp_path: Path) -> None:
        with pytest.raises(PromotionRefused, match="no SQLite database"):
            await move(source_url, target_url)
        assert not (tmp_path / "authapi.sqlite3").exists()
        (tmp_path / "authapi.sqlite3").write_text("no database " * 100)
        with pytest.raises(PromotionRefused, match="file is not a database"):
            await move(source_url, target_url)

    @pytest.mark.parametrize(("revision", "reason"), [("0001", "authapi db upgrade"), ("9999", "newer")])
    async def test_another_schema_at_the_source(
        self, source_url: str, target_url: str, revision: str, reason: str
    ) -> None:
        await migrations.upgrade(source_url)
        await set_revision(source_url, revision)
        with pytest.raises(PromotionRefused, match=reason):
            await move(source_url, target_url)

    async def test_a_newer_schema_at_the_target(self, source_url: str, target_url: str) -> None:
        await migrations.upgrade(source_url)
        await migrations.upgrade(target_url)
        await set_revision(target_url, "9999")
        with pytest.raises(PromotionRefused, match="newer release"):
            await move(source_url, target_url)


async def set_revision(url: str, revision: str) -> None:
    async with opened(url) as database, database.unit_of_work() as db:
        await db.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


async def rows_of_schema(url: str) -> int:
    """How many tables there are."""
    async with opened(url) as database, database.reading() as db:
        counted = await db.scalar(
            text("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")
        )
        return int(counted or 0)


class TestInterrupted:
    async def test_a_value_that_does_not_fit_leaves_the_target_empty(
        self, source_url: str, target_url: str, tmp_path: Path
    ) -> None:
        await migrations.upgrade(source_url)
        runtime = Runtime.build(make_settings(database_url=source_url, data_dir=tmp_path))
        await fill(runtime, 20)
        async with runtime.database.unit_of_work() as db:
            # SQLite keeps what PostgreSQL would cut.
            await db.execute(update(User).where(User.email == "many7@example.com").values(phone="1" * 33))
        await runtime.close()
        with pytest.raises(asyncpg.StringDataRightTruncationError):
            await move(source_url, target_url)
        rows = await rows_by_table(target_url)
        assert rows["users"] == set()
        assert len(rows["roles"]) == 3

    async def test_a_row_that_does_not_arrive(
        self, source_url: str, target_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await migrations.upgrade(source_url)
        copy_in = whole_tables.copy_in

        async def lose_one(db: AsyncSession, table: Table, rows: Sequence[Row[Any]], **options: Any) -> None:
            await copy_in(db, table, rows[1:] if table is role_permissions else rows, **options)

        monkeypatch.setattr(whole_tables, "copy_in", lose_one)
        with pytest.raises(PromotionRefused, match="role_permissions: 11 rows were read, 10 have arrived"):
            await move(source_url, target_url)
        assert (await rows_by_table(target_url))["audit_events"] == set()

    async def test_killed_in_the_middle_and_run_again(
        self, source_url: str, target_url: str, tmp_path: Path
    ) -> None:
        await migrations.upgrade(source_url)
        runtime = Runtime.build(make_settings(database_url=source_url, data_dir=tmp_path))
        await fill(runtime, USERS)
        await runtime.close()
        code = textwrap.dedent("""
            import asyncio, os, signal, sys
            from authapi.services import promotion
            def die(table, done, total):
                # Users and passwords have been written.
                if table == "user_roles":
                    os.kill(os.getpid(), signal.SIGKILL)
            asyncio.run(
                promotion.promote(source_url=sys.argv[1], target_url=sys.argv[2], on_progress=die)
            )
        """)
        killed = subprocess.run(
            [sys.executable, "-c", code, source_url, target_url],
            check=False,
            env=clean_environment(),
            timeout=60,
        )
        assert killed.returncode == -signal.SIGKILL
        assert (await rows_by_table(target_url))["users"] == set()
        assert (await move(source_url, target_url))["users"] == USERS
        assert len((await rows_by_table(target_url))["password_credentials"]) == USERS
