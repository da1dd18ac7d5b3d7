"""Searching within words: on a PostgreSQL with pg_trgm, which pip's binaries lack and Debian's have."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from alembic import command
from authapi import migrations
from authapi.database import Database
from authapi.migrations import SchemaState, alembic_config, schema_state
from authapi.models import User
from authapi.repositories import user_search
from tests.api.admin.support import USERS, Caller
from tests.conftest import http_client, make_settings, running_app
from tests.support.accounts import Accounts
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.postgres_binaries import SYSTEM_BINARIES
from tests.support.processes import scratch_directory

INDEX = "ix_users_trigrams"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the distribution."""
    found = sorted(SYSTEM_BINARIES.glob("*/bin/postgres"))
    extension = "/usr/share/postgresql/{}/extension/pg_trgm.control"
    found = [path for path in found if Path(extension.format(path.parts[-3])).exists()]
    if not found:
        pytest.skip("searching within words was not tried: apt-get install postgresql")
    with scratch_directory() as directory, start_postgres(directory, binaries=found[-1].parent) as server:
        yield server


@pytest.fixture
def empty(server: PostgresServer) -> Iterator[str]:
    """The name of an empty database."""
    name = f"trigrams_{uuid4().hex[:12]}"
    server.create_database(name)
    yield name
    server.drop_database(name)


@pytest.fixture
async def admin(server: PostgresServer, empty: str, tmp_path: Path) -> AsyncIterator[tuple[Caller, Accounts]]:
    """An administrator of a service on such a database, and what makes more accounts."""
    await migrations.upgrade(server.url(empty))
    settings = make_settings(database_url=server.url(empty), data_dir=tmp_path, database={"timeout": 20})
    async with running_app(settings) as app, http_client(app) as client:
        accounts = Accounts(client, app.state.runtime)
        yield Caller(client, await accounts.admin("root@example.net")), accounts


async def has_index(url: str) -> bool:
    database = Database(url, pool_size=1)
    try:
        async with database.reading() as db:
            condition = await user_search.match(db, User.full_name_key, "lovelace")
            return "LIKE" in str(condition)
    finally:
        await database.close()


async def serving_indices(dsn: str) -> list[str]:
    """The indices that find a part of a word in an address or a name."""
    connection = await asyncpg.connect(dsn)
    # A handful of rows is otherwise read in no time.
    await connection.execute("SET enable_seqscan = off")
    lines = await connection.fetch(
        "EXPLAIN SELECT id FROM users WHERE email_canonical LIKE '%' || $1 || '%' ESCAPE '/'"
        " OR full_name_key LIKE '%' || $1 || '%' ESCAPE '/'",
        "lovelace",
    )
    await connection.close()
    return [INDEX for line in lines if INDEX in line[0]]


async def test_any_part_of_a_word(admin: tuple[Caller, Accounts]) -> None:
    root, accounts = admin
    for address, name in (
        ("ada.byron@example.com", "Ada Lovelace"),
        ("grace@example.com", "Grace 100% Hopper_x"),
        ("aerzte@example.com", "Die Ärzte"),
        ("slash@example.com", "back\\slash for/ward"),
    ):
        await accounts.register(address, full_name=name)
    ada, grace, doctor, slash = "ada.byron@", "grace@", "aerzte@", "slash@"
    for q, expected in [
        ("lovelace", {ada}),
        ("VELA", {ada}),
        ("byron", {ada}),
        ("n@example.com", {ada}),
        ("example.com", {ada, grace, doctor, slash}),
        ("hopper_x", {grace}),
        # No wildcards: neither stands for anything else.
        ("love_ace", set()),
        ("hopper%", set()),
        ("100%", {grace}),
        ("1%0", set()),
        ("ack\\sla", {slash}),
        ("for/war", {slash}),
        # Fewer than three letters or digits in a row: how it begins.
        ("ad", {ada}),
        ("ov", set()),
        ("0% h", set()),
        # No letter to a database whose locale is C.
        ("die ä", {doctor}),
        ("ärz", set()),
        ("rzte", {doctor}),
    ]:
        emails = {user["email"] for user in await root.read(USERS, q=q)} - {root.account.email}
        assert {email.removesuffix("example.com") for email in emails} == expected, q
    pages = await root.walk(USERS, q="example.com", limit=3, sort="email")
    assert [len(page) for page in pages] == [3, 1]


async def test_the_index(server: PostgresServer, empty: str) -> None:
    """`alembic check` passes, the index serves, and there is a way back and forth."""
    url = server.url(empty)
    await migrations.upgrade(url)
    assert await has_index(url)
    assert await serving_indices(server.dsn(empty)) == [INDEX, INDEX]

    def check_and_go_back(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.check(config)
        command.downgrade(config, "0002")

    database = Database(url, pool_size=1)
    async with database.engine.begin() as connection:
        await connection.run_sync(check_and_go_back)
    assert await schema_state(database) is SchemaState.BEHIND
    await database.close()
    assert not await has_index(url)
    await migrations.upgrade(url)
    assert await has_index(url)


async def test_a_role_that_may_not_add_extensions(server: PostgresServer, empty: str) -> None:
    """The migration succeeds all the same, and the beginning of words is searched."""
    database = Database(server.url(empty), pool_size=1)
    async with database.unit_of_work() as db:
        for statement in (
            "CREATE ROLE plain LOGIN PASSWORD 'plain'",
            "GRANT CREATE, USAGE ON SCHEMA public TO plain",
        ):
            await db.execute(text(statement))
    plain = make_url(server.url(empty)).set(username="plain", password="plain")
    url = plain.render_as_string(hide_password=False)
    await migrations.upgrade(url)
    assert not await has_index(url)
    async with database.unit_of_work() as db:
        await db.execute(text("DROP OWNED BY plain"))
        await db.execute(text("DROP ROLE plain"))
    await database.close()
