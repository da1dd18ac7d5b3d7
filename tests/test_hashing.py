"""Places for logins: the surplus of a flood is refused before it costs the database anything."""

import contextvars
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count

import httpx
import pytest

from authapi import request_context
from authapi.errors import HashingBusy
from authapi.hashing import Hasher
from authapi.observer import Observer
from authapi.request_context import RequestContext
from authapi.runtime import Runtime
from authapi.setting_groups import PasswordSettings
from tests.conftest import MakeApp
from tests.security.test_hashing_pool import until
from tests.support.accounts import PASSWORD, Accounts
from tests.support.statements import statements_of_requests

PLACES = 4


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    hasher = Hasher(
        PasswordSettings(bcrypt_rounds=4, hash_workers=1, hash_queue=PLACES - 1), observer=Observer()
    )
    yield hasher
    hasher.close()


def take(hasher: Hasher, held: ExitStack, ip: str) -> None:
    # Each as in a request of its own.
    with request_context.bind(RequestContext(request_id="test", ip=ip, user_agent=None)):
        place = hasher.place()
        own = contextvars.copy_context()
        own.run(place.__enter__)
        held.callback(own.run, place.__exit__, None, None, None)


def take_all(hasher: Hasher, held: ExitStack) -> None:
    with suppress(HashingBusy):
        for number in count():
            take(hasher, held, f"2001:db8:{number:x}::1")


class TestPlace:
    def test_all_taken(self, hasher: Hasher) -> None:
        with ExitStack() as held:
            for number in range(PLACES):
                take(hasher, held, f"192.0.2.{number}")
            with pytest.raises(HashingBusy) as refused:
                take(hasher, held, "192.0.2.9")
            assert refused.value.retry_after == 1
        with ExitStack() as held:
            take(hasher, held, "192.0.2.9")

    @pytest.mark.parametrize("others", [("192.0.2.1", "192.0.2.1"), ("2001:db8:0:1::1", "2001:db8:0:2::1")])
    def test_one_address_does_not_keep_the_others_out(self, hasher: Hasher, others: tuple[str, str]) -> None:
        with ExitStack() as held:
            for number in range(PLACES // 2):
                take(hasher, held, others[number % 2])
            with pytest.raises(HashingBusy):
                take(hasher, held, others[0])
            for number in range(PLACES // 2):
                take(hasher, held, f"198.51.100.{number}")


async def test_a_refused_login_asks_the_database_nothing(
    runtime: Runtime, accounts: Accounts, client: httpx.AsyncClient
) -> None:
    account = await accounts.register()
    body = {"email": account.email, "password": PASSWORD}
    form = {"grant_type": "password", "username": account.email, "password": PASSWORD}
    with ExitStack() as held, statements_of_requests(runtime) as asked:
        take_all(runtime.hasher, held)
        login = await client.post("/api/auth/login", json=body)
        basic = await client.post("/login", auth=(account.email, PASSWORD))
        token = await client.post("/api/auth/token", data=form)
    assert login.json()["error"]["code"] == HashingBusy.code
    for response in (login, basic, token):
        assert response.status_code == 503
        assert response.headers["Retry-After"]
    assert asked == []
    assert (await client.post("/api/auth/login", json=body)).status_code == 200


async def test_the_first_hash_is_computed_at_the_start(make_app: MakeApp) -> None:
    async with make_app() as app:
        pool = app.state.runtime.hasher.pool
        await until(lambda: pool.hashes_total == 1)
