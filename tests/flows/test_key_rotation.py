"""Keys change under load, on two hosts: no valid token fails, no request waits (ASVS 11.2.2, 13.3.4)."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import time_machine
from fastapi import FastAPI

from authapi import clock
from authapi.services.key_keeper import KeyKeeper
from authapi.services.key_rotation import PUBLISH_LEAD, rotate
from authapi.services.signing_keys import generate_key
from tests.conftest import empty_tables, http_client, make_settings, running_app
from tests.support.accounts import Account, Accounts
from tests.support.hosts import kid_of

USERS = 3
THINKING_SECONDS = 0.02
# From the order on, in minutes: the new key signs after 10, the old one ends 65 after that.
STEPS = (5, 5, 20, 20, 14, 6, 6)
LONGEST_WAIT_SECONDS = 1.0


@dataclass
class Load:
    """Users who call and refresh, at one host and at the other, for as long as they are let."""

    clients: list[httpx.AsyncClient]
    rounds: dict[str, int] = field(default_factory=dict)
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)
    failures: list[str] = field(default_factory=list)
    kids: set[str] = field(default_factory=set)
    longest_wait: float = 0.0

    async def call(self, account: Account) -> None:
        """One user: each round uses the token of the last one at both hosts, then gets another."""
        pair = dict(account.data)
        while not self.failures:
            for client in self.clients:
                await self.use(client, pair["access_token"])
            turn = self.clients[self.rounds[account.email] % len(self.clients)]
            body = {"refresh_token": pair["refresh_token"]}
            response = await self._send(turn, "POST", "/api/auth/refresh", json=body)
            if response.status_code == 200:
                pair = response.json()["data"]
                self.kids.add(kid_of(pair["access_token"]))
            await asyncio.sleep(THINKING_SECONDS)
            async with self.progress:
                self.rounds[account.email] += 1
                self.progress.notify_all()

    async def go_on(self, rounds: int = 2) -> None:
        """Wait until every user has done that many more rounds."""
        goals = {email: done + rounds for email, done in self.rounds.items()}
        async with asyncio.timeout(60), self.progress:
            await self.progress.wait_for(
                lambda: self.failures or all(self.rounds[email] >= goals[email] for email in goals)
            )
        assert self.failures == []

    async def use(self, client: httpx.AsyncClient, access_token: str) -> None:
        """Call what needs the token alone, and note how long that took: nothing may hold it up."""
        started = time.perf_counter()
        headers = {"Authorization": f"Bearer {access_token}"}
        await self._send(client, "GET", "/api/auth/me", headers=headers)
        self.longest_wait = max(self.longest_wait, time.perf_counter() - started)

    async def _send(
        self, client: httpx.AsyncClient, method: str, path: str, **options: Any
    ) -> httpx.Response:
        response = await client.request(method, path, **options)
        if response.status_code != 200:
            self.failures.append(f"{path}: {response.status_code} {response.text}")
        return response


async def test_keys_rotate_under_load(no_keys: str, tmp_path: Path) -> None:
    settings = make_settings(
        database_url=no_keys, data_dir=tmp_path, access_token={"key_lifetime": timedelta(days=30)}
    )
    async with running_app(settings) as one, running_app(settings) as other:
        hosts: list[FastAPI] = [one, other]
        await empty_tables(one.state.runtime)
        async with http_client(one) as first, http_client(other) as second:
            accounts = Accounts(first, one.state.runtime)
            users = [await accounts.register() for _ in range(USERS)]
            load = Load([first, second], rounds={user.email: 0 for user in users})
            callers = [asyncio.create_task(load.call(user)) for user in users]
            try:
                with time_machine.travel(clock.utc_now(), tick=True) as traveller:
                    await load.go_on()
                    async with one.state.runtime.database.unit_of_work() as db:
                        await rotate(db, one.state.runtime, fresh=await generate_key(one.state.runtime))
                    for app in reversed(hosts):
                        await KeyKeeper(app.state.runtime).reload()
                        await load.go_on()
                    kept: list[tuple[datetime, str]] = []
                    for step in STEPS:
                        kept.append((clock.utc_now(), (await accounts.log_in(users[0])).access_token))
                        traveller.shift(timedelta(minutes=step))
                        for issued_at, token in kept:
                            # As old as it may be, and signed by the key before.
                            if clock.utc_now() - issued_at < settings.access_token.lifetime:
                                await asyncio.gather(*(load.use(client, token) for client in load.clients))
                        await load.go_on()
                    assert len(load.kids) == 2
                    assert [len(app.state.runtime.tokens.keys) for app in hosts] == [1, 1]
            finally:
                for caller in callers:
                    caller.cancel()
                await asyncio.gather(*callers, return_exceptions=True)
    assert load.longest_wait < LONGEST_WAIT_SECONDS


async def test_an_installation_lives_for_years(no_keys: str, tmp_path: Path) -> None:
    """Nobody ever rotates by hand: every quarter there is a new key, and a month-old session goes on."""
    settings = make_settings(database_url=no_keys, data_dir=tmp_path)
    async with running_app(settings) as app, http_client(app) as client:
        await empty_tables(app.state.runtime)
        account = await Accounts(client, app.state.runtime).register()
        keeper = KeyKeeper(app.state.runtime)
        kids = [kid_of(account.access_token)]
        with time_machine.travel(clock.utc_now(), tick=True) as traveller:
            for _ in range(8):
                traveller.shift(timedelta(days=91))
                await keeper.reload()
                traveller.shift(PUBLISH_LEAD)
                account = await Accounts(client, app.state.runtime).log_in(account)
                assert (await client.get("/api/auth/me", headers=account.headers)).status_code == 200
                kids.append(kid_of(account.access_token))
            assert len(set(kids)) == 9
            traveller.shift(timedelta(hours=2))
            assert len(app.state.runtime.tokens.keys) == 1
