"""No statement reads a table that grows with the users from one end to the other.

A service with thousands of users is driven through its routes and loops once. Every statement that this executes
is then explained by PostgreSQL: with the values it had, and by what it would read, not by what it would cost.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import Connection, Engine, UniqueConstraint, event

from authapi import migrations
from authapi.models import Base
from authapi.repositories import planning
from authapi.security.passwords import PasswordHasher
from tests.conftest import http_client, make_settings, running_app
from tests.support.accounts import PASSWORD
from tests.support.crowds import make_crowd
from tests.support.driving import drive_everything
from tests.support.postgres import PostgresServer

USERS_MADE = 8000
# A page has 101 rows at most, a round of a loop 500, and a number is exact up to `EXACT`.
MOST_ROWS = 1200
EXACT = 1000

GROWING = {
    "users",
    "password_credentials",
    "user_roles",
    "user_sessions",
    "audit_events",
    "mail_messages",
    "one_time_tokens",
    "known_devices",
    "login_throttles",
    "revocations",
}
COUNTED = re.compile(r"SELECT count\(\*\).*LIMIT", re.DOTALL)


@dataclass
class Recorder:
    """The distinct statements of a database, each with the values that it was executed with last."""

    url: str
    statements: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def note(
        self,
        connection: Connection,
        _cursor: object,
        statement: str,
        values: Any,
        _context: object,
        is_many: bool,
    ) -> None:
        if connection.engine.url.render_as_string(hide_password=False) == self.url:
            self.statements[statement] = values[0] if is_many else values


@dataclass
class Driven:
    """What was recorded, the database it was recorded on, and the statistics that were read there."""

    dsn: str
    statements: dict[str, tuple[Any, ...]]
    statistics: dict[str, Any]


@pytest.fixture(scope="module")
async def driven(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Driven]:
    """A database with a crowd in it, on which everything was done once."""
    name = f"plans_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    url, dsn = postgres_server.url(name), postgres_server.dsn(name)
    await migrations.upgrade(url)
    await make_crowd(dsn, users=USERS_MADE, password_hash=PasswordHasher(rounds=4).hash(PASSWORD))
    await let_some_expire(dsn)
    recorder = Recorder(url)
    settings = make_settings(
        database_url=url,
        data_dir=tmp_path_factory.mktemp("plans"),
        # What is looked at is the plans, also where everything is slow.
        database={"timeout": timedelta(seconds=20)},
        audit={"retention": timedelta(days=360, minutes=50)},
    )
    event.listen(Engine, "before_cursor_execute", recorder.note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "EXACT_UP_TO", EXACT)
        patch.setattr(planning, "FEW", EXACT)
        async with running_app(settings) as app, http_client(app) as client:
            statistics = await drive_everything(app, client)
    event.remove(Engine, "before_cursor_execute", recorder.note)
    yield Driven(dsn, recorder.statements, statistics)
    postgres_server.drop_database(name)


async def let_some_expire(dsn: str) -> None:
    """Leave something to purge of every kind."""
    connection = await asyncpg.connect(dsn)
    long_ago = "now() - interval '200 days'"
    for table, column in (
        ("one_time_tokens", "expires_at"),
        ("user_sessions", "expires_at"),
        ("user_sessions", "idle_expires_at"),
        ("user_sessions", "revoked_at"),
        ("revocations", "expires_at"),
        ("mail_messages", "updated_at"),
        ("login_throttles", "expires_at"),
        ("known_devices", "expires_at"),
        ("users", "deleted_at"),
    ):
        chosen = f"SELECT ctid FROM {table} ORDER BY random() LIMIT 3"  # noqa: S608 - constants
        await connection.execute(
            f"UPDATE {table} SET {column} = {long_ago} WHERE ctid IN ({chosen})"  # noqa: S608 - constants
        )
    await connection.execute("ANALYZE")
    await connection.close()


@dataclass(frozen=True)
class Reading:
    """What one node of a plan does to a table."""

    kind: str
    table: str
    rows: float


def readings(plan: dict[str, Any]) -> Iterator[Reading]:
    """Every access to a table that grows, with the rows that were looked at, shown or not."""
    removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    if plan.get("Relation Name") in GROWING and plan["Node Type"] != "ModifyTable":
        rows = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
        yield Reading(plan["Node Type"], plan["Relation Name"], rows)
    for below in plan.get("Plans", ()):
        yield from readings(below)


async def explain(
    connection: "asyncpg.Connection[asyncpg.Record]", statement: str, values: tuple[Any, ...]
) -> dict[str, Any]:
    """The plan, with what really happened; the statement's changes are undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        rows = await connection.fetch(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", *values, timeout=30
        )
    finally:
        await transaction.rollback()
    plan: dict[str, Any] = json.loads(rows[0][0])[0]["Plan"]
    return plan


def find_offence(statement: str, plan: dict[str, Any]) -> str | None:
    """What a plan does that takes longer the more users there are."""
    for reading in readings(plan):
        # Where rows are only counted up to a number, reading just as many from the start is best.
        if reading.kind == "Seq Scan" and not COUNTED.match(statement):
            return f"reads {reading.table} from one end to the other"
        if reading.rows > MOST_ROWS:
            return f"looks at {reading.rows:.0f} rows of {reading.table} ({reading.kind})"
    return None


async def test_no_statement_reads_a_whole_table(driven: Driven) -> None:
    connection = await asyncpg.connect(driven.dsn)
    offences, explained = [], 0
    for statement, values in driven.statements.items():
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            explained += 1
            offence = find_offence(statement, await explain(connection, statement, values))
            if offence:
                offences.append(f"{offence}: {statement}")
    await connection.close()
    assert explained > 150
    assert not offences, "\n\n".join(offences)


async def test_numbers_are_estimated(driven: Driven) -> None:
    numbers = driven.statistics
    assert numbers["estimated"]
    # So few rows say less about all of them than a million do.
    assert numbers["total_users"] == pytest.approx(USERS_MADE, rel=0.1)
    assert numbers["users_by_role"]["user"] == pytest.approx(USERS_MADE, rel=0.1)
    # Below the limit they are exact.
    assert numbers["users_by_role"]["admin"] == 1


def test_erasing_a_user_finds_what_hangs_on_him() -> None:
    """A foreign key without an index is found by reading its whole table, for each row that is deleted."""
    for table in Base.metadata.sorted_tables:
        unique = [each.columns[0] for each in table.constraints if isinstance(each, UniqueConstraint)]
        leading = [*unique, table.primary_key.columns[0], *(index.columns[0] for index in table.indexes)]
        for key in table.foreign_keys:
            assert key.parent in leading, f"{table.name}.{key.parent.name} leads no index"


@pytest.mark.parametrize(
    ("statement", "offence"),
    [
        ("SELECT * FROM users WHERE phone = 'x'", "reads users from one end"),
        (
            "SELECT * FROM users WHERE md5(email) = 'x' ORDER BY created_at LIMIT 1",
            r"looks at \d{4} rows of users",
        ),
        ("SELECT * FROM users ORDER BY created_at LIMIT 1", None),
    ],
)
async def test_what_would_be_found(driven: Driven, statement: str, offence: str | None) -> None:
    connection = await asyncpg.connect(driven.dsn)
    found = find_offence(statement, await explain(connection, statement, ()))
    await connection.close()
    assert re.match(offence, found or "") if offence else found is None
