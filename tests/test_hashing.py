"""Places for logins: the surplus of a flood is refused before it costs the database anything."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from authapi import request_context
from authapi.errors import HashingBusy
from authapi.hashing import Hasher
from authapi.request_context import RequestContext
from authapi.runtime import Runtime
from authapi.security.hashing_pool import HashingPool
from authapi.settings import PasswordSettings
from tests.support.accounts import PASSWORD, Accounts
from tests.support.mails import Statements

PLACES = 4


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    hasher = Hasher(PasswordSettings(bcrypt_rounds=4, hash_workers=1, hash_queue=PLACES - 1))
    yield hasher
    hasher.close()


def take(hasher: Hasher, held: ExitStack, ip: str) -> None:
    with request_context.bind(RequestContext(request_id="test", ip=ip, user_agent=None)):
        held.enter_context(hasher.place())


class TestPlace:
    def test_all_taken(self, hasher: Hasher) -> None:
        with ExitStack() as held:
            for _ in range(PLACES):
                take(hasher, held, "192.0.2.1")
            with pytest.raises(HashingBusy) as refused:
                take(hasher, held, "192.0.2.1")
            assert refused.value.retry_after == 1
            assert hasher.pool.refused_total == 1
        with ExitStack() as held:
            take(hasher, held, "192.0.2.1")

    def test_one_address_does_not_keep_the_others_out(self, hasher: Hasher) -> None:
        with ExitStack() as held:
            for _ in range(PLACES):
                take(hasher, held, "192.0.2.1")
            for _ in range(PLACES // 2):
                take(hasher, held, "192.0.2.2")
            for ip in ("192.0.2.1", "192.0.2.2"):
                with pytest.raises(HashingBusy):
                    take(hasher, held, ip)


async def test_a_refused_login_asks_the_database_nothing(
    runtime: Runtime, accounts: Accounts, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await accounts.register()
    body = {"email": account.email, "password": PASSWORD}
    with monkeypatch.context() as full:
        full.setattr(HashingPool, "capacity", 0)
        with Statements(runtime) as asked:
            response = await client.post("/api/auth/login", json=body)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == HashingBusy.code
    assert response.headers["Retry-After"]
    assert asked.texts == []
    assert (await client.post("/api/auth/login", json=body)).status_code == 200
