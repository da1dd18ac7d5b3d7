"""People who use the service while it is killed, and who know what it has acknowledged.

What was not answered may or may not have been done; everything else is held against the service:
no acknowledged account, password, rotation or logout is lost, no refresh token has two successors, and nothing
that was revoked works again.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random  # noqa: TID251 - not a secret: the same run twice
from uuid import uuid4

from tests.faults.http import PASSWORD, Answer, Client, NoAnswer

# A revocation reaches the other hosts within a second.
SPREAD_SECONDS = 1.0
# Below the grace in which a refresh token that was used already still gets the current pair.
RETRY_SECONDS = 20.0
PAUSE_SECONDS = 0.03


@dataclass
class Ledger:
    """What all people together have seen."""

    answers: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    successors: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    accounts: set[str] = field(default_factory=set)
    tried: set[str] = field(default_factory=set)

    def accuse(self, what: str) -> None:
        """Note something that must not have happened."""
        self.violations.append(what)


@dataclass
class Session:
    """A login as its client knows it."""

    access_token: str
    refresh_token: str
    # Since when a refresh may have happened without an answer.
    doubtful_since: float | None = None
    ended_at: float = 0.0


class Person:
    """One account and its sessions; every request goes to a host at random."""

    def __init__(self, hosts: Sequence[Client], ledger: Ledger, *, seed: int) -> None:
        self._hosts = hosts
        self._ledger = ledger
        self._random = Random(seed)
        self._email = ""
        self._passwords = [PASSWORD]
        # Without it, logins that a kill cut off would count as a stranger's guesses until none is left.
        self._device_token: str | None = None
        self._session: Session | None = None
        self._ended: list[Session] = []

    async def live(self, is_over: Callable[[], bool]) -> None:
        """Do one thing after the other until it is over."""
        acts = {self._verify: 40, self._refresh: 25, self._race: 5, self._look_back: 12}
        acts |= {self._log_in: 8, self._log_out: 6, self._register: 2, self._change_password: 2}
        while not is_over():
            if not self._email:
                await self._register()
            elif self._session is None:
                await self._log_in()
            else:
                (act,) = self._random.choices(list(acts), list(acts.values()))
                await act()
            await asyncio.sleep(PAUSE_SECONDS)

    async def settle(self) -> None:
        """With every host up: what was acknowledged must be there, and what was ended must be refused."""
        await asyncio.sleep(SPREAD_SECONDS)
        if self._session is not None:
            await self._verify()
            await self._refresh()
        if self._email:
            await self._log_in()
        for session in self._ended:
            await self._expect_ended(session)

    async def _ask(self, what: str, call: Callable[[Client], Awaitable[Answer]]) -> Answer | None:
        """One request; None where its outcome is unknown or the service refused for now."""
        try:
            answer = await call(self._random.choice(self._hosts))
        except NoAnswer:
            self._ledger.unknown[f"{what} without an answer"] += 1
            await asyncio.sleep(4 * PAUSE_SECONDS)
            return None
        if answer.status in {429, 503}:
            self._ledger.unknown[f"{what} {answer.status}"] += 1
            return None
        if answer.status >= 500:
            self._ledger.accuse(f"{what}: {answer.status}")
            return None
        self._ledger.answers[what] += 1
        return answer

    async def _register(self) -> None:
        email = f"{uuid4().hex[:12]}@example.com"
        self._ledger.tried.add(email)
        for _ in range(200):
            answer = await self._ask("register", lambda host: host.register(email))
            if answer is not None:
                break
            await asyncio.sleep(0.1)
        else:
            return
        # 409: a try without an answer had succeeded.
        if answer.status not in {201, 409}:
            self._ledger.accuse(f"register: {answer.status}")
            return
        self._ledger.accounts.add(email)
        self._email, self._passwords, self._session = email, [PASSWORD], None
        self._device_token = None
        if answer.status == 201:
            self._enter(answer)

    async def _log_in(self) -> None:
        # The latest is tried first; the one before only counts while the change was not acknowledged.
        for password in reversed(self._passwords):
            answer = await self._ask("login", partial(self._log_in_at, password=password))
            if answer is None:
                return
            if answer.status == 200:
                self._passwords = [password]
                self._enter(answer)
                return
        self._ledger.accuse(f"an acknowledged account or password is gone: {answer and answer.status}")
        self._email = ""

    async def _log_in_at(self, host: Client, password: str) -> Answer:
        return await host.log_in(self._email, password, device_token=self._device_token)

    def _enter(self, answer: Answer) -> None:
        self._session = Session(answer.data["access_token"], answer.data["refresh_token"])
        self._device_token = answer.data["device_token"]

    async def _verify(self) -> None:
        session = self._session
        assert session is not None
        answer = await self._ask("verify", lambda host: host.get("/verify", token=session.access_token))
        if answer is not None and answer.status != 200:
            self._ledger.accuse(f"a live session is refused: {answer.status}")
            self._session = None

    async def _refresh(self) -> None:
        session = self._session
        assert session is not None
        answer = await self._ask("refresh", lambda host: host.refresh(session.refresh_token))
        self._take(session, answer)

    async def _race(self) -> None:
        """Two tabs at once."""
        session = self._session
        assert session is not None
        token = session.refresh_token
        both = await asyncio.gather(*(self._ask("refresh", lambda host: host.refresh(token)) for _ in "ab"))
        for answer in both:
            if answer is not None and answer.status == 200:
                self._ledger.successors[token].add(answer.data["refresh_token"])
        self._take(session, both[0] or both[1])

    def _take(self, session: Session, answer: Answer | None) -> None:
        now = time.monotonic()
        if answer is None:
            session.doubtful_since = session.doubtful_since or now
            if now - session.doubtful_since > RETRY_SECONDS:
                # From now on a try would look like a stolen token.
                self._session = None
        elif answer.status == 200:
            self._ledger.successors[session.refresh_token].add(answer.data["refresh_token"])
            self._session = Session(answer.data["access_token"], answer.data["refresh_token"])
        else:
            self._ledger.accuse(f"an acknowledged refresh token is refused: {answer.status}")
            self._session = None

    async def _log_out(self) -> None:
        session = self._session
        assert session is not None
        self._session = None
        answer = await self._ask("logout", lambda host: host.log_out(session.access_token))
        if answer is None:
            return
        if answer.status != 200:
            self._ledger.accuse(f"logout: {answer.status}")
            return
        session.ended_at = time.monotonic()
        self._ended.append(session)

    async def _look_back(self) -> None:
        old = [one for one in self._ended if time.monotonic() - one.ended_at > SPREAD_SECONDS]
        if old:
            await self._expect_ended(self._random.choice(old))

    async def _expect_ended(self, session: Session) -> None:
        verified = await self._ask("look back", lambda host: host.get("/verify", token=session.access_token))
        refreshed = await self._ask("look back", lambda host: host.refresh(session.refresh_token))
        for answer in (verified, refreshed):
            if answer is not None and answer.status != 401:
                self._ledger.accuse(f"what was revoked works again: {answer.status}")

    async def _change_password(self) -> None:
        session = self._session
        assert session is not None
        if len(self._passwords) > 1:
            await self._log_in()
            return
        # Digits: among letters there would now and then be Ada's name, which is refused.
        new = f"Another Horse {uuid4().int % 10**9:09}"
        body = {"current_password": self._passwords[0], "new_password": new}
        answer = await self._ask(
            "password", lambda host: host.post("/api/auth/password/change", body, token=session.access_token)
        )
        if answer is None:
            self._passwords.append(new)
        elif answer.status == 200:
            self._passwords = [new]
        else:
            self._ledger.accuse(f"password change: {answer.status} {answer.body[:200]!r}")
