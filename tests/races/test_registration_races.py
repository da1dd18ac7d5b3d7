"""One address, many registrations: on several hosts, in several spellings, with other people in between."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from authapi import errors
from authapi.enums import RegistrationMode
from authapi.models import PasswordCredential, User, UserSession
from authapi.runtime import Runtime
from authapi.services import registration
from tests.support.accounts import PASSWORD

SPELLINGS = ["ada@example.com", "Ada@Example.com", "ADA@example.COM", " ada@example.com", "ａda@example.com"]
HOSTS = 3
TIMES = 15


@pytest.fixture
async def hosts(runtime: Runtime) -> AsyncIterator[list[Runtime]]:
    """Hosts with one database and nothing else in common."""
    # A connection for everybody: who waits for one too long is told to come back, which is not the point here.
    database = runtime.settings.database.model_copy(
        update={"pool_size": TIMES, "timeout": timedelta(seconds=20)}
    )
    settings = runtime.settings.model_copy(update={"database": database})
    hosts = [Runtime.build(settings) for _ in range(HOSTS)]
    for host in hosts:
        host.tokens.use_keys(runtime.tokens.keys)
    yield hosts
    for host in hosts:
        await host.close()


async def outcome(runtime: Runtime, email: str) -> str:
    try:
        async with runtime.database.unit_of_work() as db:
            await registration.register(db, runtime, email=email, password=PASSWORD, full_name="Ada")
    except errors.AuthApiError as refused:
        return refused.code
    return "made"


async def test_one_account_for_all_spellings_on_all_hosts(hosts: list[Runtime]) -> None:
    racing = [outcome(hosts[n % HOSTS], SPELLINGS[n % len(SPELLINGS)]) for n in range(HOSTS * TIMES)]
    assert Counter(await asyncio.gather(*racing)) == {"made": 1, "email_taken": HOSTS * TIMES - 1}
    async with hosts[0].database.reading() as db:
        for model in (User, PasswordCredential, UserSession):
            assert await db.scalar(select(func.count()).select_from(model)) == 1


async def test_everybody_else_gets_an_account_meanwhile(hosts: list[Runtime]) -> None:
    wanted = [f"user{n}@example.com" for n in range(TIMES)]
    racing = [outcome(host, email) for email in wanted for host in hosts]
    assert Counter(await asyncio.gather(*racing)) == {
        "made": len(wanted),
        "email_taken": len(wanted) * (HOSTS - 1),
    }
    async with hosts[0].database.reading() as db:
        made = set(await db.scalars(select(User.email_canonical)))
    assert made == set(wanted)


async def test_where_a_taken_address_is_answered_alike_the_surplus_is_refused_at_once(
    hosts: list[Runtime],
) -> None:
    """Each costs a hash there: those who wait for one stand in the bounded queue and nowhere else."""
    settings = hosts[0].settings
    verify_first = settings.registration.model_copy(update={"mode": RegistrationMode.VERIFY_FIRST})
    few_places = settings.password.model_copy(update={"hash_workers": 1, "hash_queue": 4})
    host = Runtime.build(settings.model_copy(update={"registration": verify_first, "password": few_places}))
    opened = threading.Event()
    holder = asyncio.create_task(host.hasher.pool.run(opened.wait, fairness_key="somebody else"))
    racing = [asyncio.create_task(outcome(host, "ada@example.com")) for _ in range(TIMES)]
    refused, waiting = await asyncio.wait(racing, timeout=2)
    # At once, and not when those before them are through.
    assert {task.result() for task in refused} == {"hashing_busy"}
    assert 1 <= len(waiting) <= 4
    opened.set()
    assert await holder
    assert set(await asyncio.gather(*waiting)) == {"made"}
    await host.close()
    async with hosts[0].database.reading() as db:
        assert await db.scalar(select(func.count()).select_from(User)) == 1
