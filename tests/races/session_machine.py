"""A model of sessions that is compared, step by step, with the real ones.

The model knows what a refresh token is worth: the current generation rotates, the previous one within the
grace gets the current pair, every older one ends the session. Owners, thieves, lost replies, clocks that
differ, logouts and administrators may come in any order.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import time_machine
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.emails import parse_email
from authapi.enums import RevocationReason
from authapi.models import User, UserSession
from authapi.models.base import new_id
from authapi.repositories import roles, users
from authapi.runtime import Runtime
from authapi.security import base64url
from authapi.services import registration, revocation, signing_keys, token_refresh, user_sessions
from authapi.services.revocation_follower import RevocationFollower
from authapi.services.user_sessions import SessionTokens
from authapi.settings import Settings

T = TypeVar("T")
LEEWAY = timedelta(seconds=30)
# How far a host's clock is off; the service allows for half a minute.
PAUSES = st.sampled_from([1, 3, 8, 15, 29, 31, 61, 3_500, 3_700, 5 * 86_400, 14 * 86_400])
SKEWS = st.sampled_from([0, 0, 0, -14, 14])


@dataclass
class Access:
    """An access token; `is_void` once its user's rights have changed."""

    token: str
    issued_at: datetime
    expires_at: datetime
    is_void: bool = False


@dataclass
class Login:
    """What the model believes of a session, and which generations its owner and a thief hold."""

    id: UUID
    opened_at: datetime
    rotated_at: datetime
    generation: int = 0
    is_revoked: bool = False
    owner_holds: int = 0
    thief_holds: int | None = None
    access: list[Access] = field(default_factory=list)

    def has_expired(self, now: datetime, settings: Settings) -> bool:
        """Whether the absolute or the idle lifetime is over."""
        lifetimes = settings.refresh_token
        return now >= self.opened_at + lifetimes.lifetime or now >= self.rotated_at + lifetimes.idle_lifetime


class SessionMachine(RuleBasedStateMachine):
    """One user, any number of logins, two processes: one that acts and one that only follows."""

    settings_of_service: ClassVar[Settings]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.acting = Runtime.build(self.settings_of_service)
        self.following = Runtime.build(self.settings_of_service)
        self.follower = RevocationFollower(self.following)
        self.logins: list[Login] = []
        self.is_disabled = False
        start = clock.utc_now().replace(microsecond=300_000) + timedelta(minutes=1)
        self.travelling = time_machine.travel(start, tick=False)
        self.clock = self.travelling.start()

    def teardown(self) -> None:
        self.travelling.stop()
        self.runner.run(self.close())
        self.runner.close()

    async def close(self) -> None:
        await self.follower.stop()
        await self.acting.close()
        await self.following.close()

    @initialize()
    def register(self) -> None:
        async def create(db: AsyncSession) -> UUID:
            address = parse_email(f"{new_id()}@example.com", allow_special_domains=False)
            user = await registration.create_user(
                db,
                address=address,
                password_hash="unused",
                full_name="Ada",
                phone=None,
                assigned=await roles.find_by_names(db, ["user"]),
            )
            return user.id

        self.in_transaction(lambda db: signing_keys.load_keys(db, self.acting))
        self.in_transaction(lambda db: signing_keys.load_keys(db, self.following))
        self.user_id = self.in_transaction(create)

    # --- what people do -----------------------------------------------------------------------------------

    @precondition(
        lambda self: not self.is_disabled and sum(not login.is_revoked for login in self.logins) < 2
    )
    @rule()
    def log_in(self) -> None:
        async def open_session(db: AsyncSession) -> SessionTokens:
            user = await self.hold_user(db)
            return await user_sessions.open_session(db, self.acting, user=user, amr=["pwd"])

        opened = self.in_transaction(open_session)
        now = clock.utc_now()
        login = Login(opened.user_session.id, opened_at=now, rotated_at=now)
        self.note_access(login, opened)
        # An older one that has ended is forgotten, so that there is always something left to break.
        self.logins = [*self.logins, login][-3:]

    @precondition(lambda self: self.logins)
    @rule(which=st.integers(0, 2), skew=SKEWS, times=st.integers(1, 4), is_reply_lost=st.booleans())
    def owner_refreshes(self, which: int, skew: int, times: int, is_reply_lost: bool) -> None:
        login = self.logins[which % len(self.logins)]
        for turn in range(times):
            received = self.present(login, login.owner_holds, skew)
            if received is not None and not (is_reply_lost and turn == times - 1):
                login.owner_holds = received

    @precondition(lambda self: self.logins)
    @rule(which=st.integers(0, 2))
    def thief_copies(self, which: int) -> None:
        login = self.logins[which % len(self.logins)]
        login.thief_holds = login.owner_holds

    @precondition(lambda self: any(login.thief_holds is not None for login in self.logins))
    @rule(which=st.integers(0, 2), skew=SKEWS)
    def thief_refreshes(self, which: int, skew: int) -> None:
        robbed = [login for login in self.logins if login.thief_holds is not None]
        login = robbed[which % len(robbed)]
        assert login.thief_holds is not None
        received = self.present(login, login.thief_holds, skew)
        if received is not None:
            login.thief_holds = received

    @precondition(lambda self: self.logins)
    @rule(which=st.integers(0, 2), age=st.integers(-1, 3))
    def somebody_replays(self, which: int, age: int) -> None:
        """Any token that was issued; that of age -1 does not exist yet."""
        login = self.logins[which % len(self.logins)]
        self.present(login, max(login.generation - age, 0), 0)

    @rule(seconds=PAUSES)
    def time_passes(self, seconds: int) -> None:
        self.clock.shift(timedelta(seconds=seconds))

    @precondition(lambda self: sum(login.generation for login in self.logins) > 3)
    @rule(which=st.integers(0, 2), ending=st.sampled_from(["log_out", "log_out", "everywhere", "disable"]))
    def sessions_end(self, which: int, ending: str) -> None:
        if ending == "log_out":
            login = self.logins[which % len(self.logins)]
            self.revoke(only=login.id)
            login.is_revoked = True
            return
        if ending == "disable":
            self.in_transaction(self.disable)
            self.is_disabled = True
        else:
            self.revoke()
        for login in self.logins:
            login.is_revoked = True

    async def disable(self, db: AsyncSession) -> None:
        user = await self.hold_user(db)
        user.disabled_at = clock.utc_now()
        await db.flush()
        await revocation.revoke_user_sessions(
            db, self.acting, user_id=user.id, reason=RevocationReason.USER_DISABLED
        )

    # --- what administrators do ---------------------------------------------------------------------------

    @precondition(lambda self: self.is_disabled)
    @rule()
    def enable(self) -> None:
        async def work(db: AsyncSession) -> None:
            (await self.hold_user(db)).disabled_at = None

        self.in_transaction(work)
        self.is_disabled = False

    @rule(skew=SKEWS)
    def rights_change(self, skew: int) -> None:
        async def work(db: AsyncSession) -> None:
            await revocation.void_access_tokens(db, self.acting, user=await self.hold_user(db))

        self.clock.shift(timedelta(seconds=1 + skew))
        self.in_transaction(work)
        self.clock.shift(timedelta(seconds=-skew))
        for login in self.logins:
            for access in login.access:
                access.is_void = True

    # --- what must hold -----------------------------------------------------------------------------------

    @invariant()
    def access_tokens_are_worth_what_the_model_says(self) -> None:
        now = clock.utc_now()
        self.run(self.follower.read_on())
        self.acting.revocations.confirm(read_at=time.monotonic())
        for login in self.logins:
            for access in login.access:
                expected = (
                    not login.is_revoked
                    and not access.is_void
                    and access.issued_at <= now + LEEWAY
                    and now < access.expires_at + LEEWAY
                )
                for runtime in (self.acting, self.following):
                    assert self.is_accepted(runtime, access.token) == expected, (login, access, now)

    @invariant()
    def the_database_agrees(self) -> None:
        for login in self.logins:
            row = self.load(login.id)
            assert row is not None
            assert row.generation == login.generation
            assert (row.revoked_at is not None) == login.is_revoked or login.has_expired(
                clock.utc_now(), self.acting.settings
            )

    def load(self, user_session_id: UUID) -> UserSession | None:
        return self.in_transaction(lambda db: db.get(UserSession, user_session_id))

    # --- the machinery ------------------------------------------------------------------------------------

    def present(self, login: Login, generation: int, skew: int) -> int | None:
        """Present a refresh token at a host whose clock is off; returns the generation that came back."""
        self.clock.shift(timedelta(milliseconds=300) + timedelta(seconds=skew))
        token = self.acting.refresh_tokens.issue(login.id, generation)
        expected = self.judge(login, generation, clock.utc_now())
        pair: SessionTokens | None = None
        refusal: type[errors.InvalidRefreshToken] | None = None
        try:
            pair = self.run(token_refresh.refresh(self.acting, refresh_token=token))
        except errors.InvalidRefreshToken as refused:
            refusal = type(refused)
        self.clock.shift(timedelta(seconds=-skew))
        assert refusal is expected, (login, generation)
        if pair is None:
            login.is_revoked |= refusal is errors.RefreshTokenReused
            return None
        if generation == login.generation:
            login.generation += 1
            login.rotated_at = pair.user_session.rotated_at
        # Never a second family: whoever is answered gets the one pair that is current.
        assert pair.refresh_token == self.acting.refresh_tokens.issue(login.id, login.generation)
        self.note_access(login, pair)
        return login.generation

    def judge(self, login: Login, generation: int, now: datetime) -> type[errors.InvalidRefreshToken] | None:
        """The refusal that the model expects, or None for a pair."""
        settings = self.acting.settings
        if login.is_revoked or login.has_expired(now, settings) or generation > login.generation:
            return errors.InvalidRefreshToken
        is_in_grace = now - login.rotated_at <= settings.refresh_token.grace
        if generation == login.generation or (generation == login.generation - 1 and is_in_grace):
            return None
        return errors.RefreshTokenReused

    def revoke(self, only: UUID | None = None) -> None:
        self.in_transaction(
            lambda db: revocation.revoke_user_sessions(
                db, self.acting, user_id=self.user_id, reason=RevocationReason.LOGOUT, only=only
            )
        )

    def note_access(self, login: Login, tokens: SessionTokens) -> None:
        payload = json.loads(base64url.decode(tokens.access_token.split(".")[1]))
        login.access.append(
            Access(
                tokens.access_token,
                issued_at=datetime.fromtimestamp(payload["iat"], tz=clock.utc_now().tzinfo),
                expires_at=datetime.fromtimestamp(payload["exp"], tz=clock.utc_now().tzinfo),
            )
        )

    @staticmethod
    def is_accepted(runtime: Runtime, token: str) -> bool:
        try:
            runtime.tokens.verify(token)
        except errors.InvalidAccessToken:
            return False
        return True

    async def hold_user(self, db: AsyncSession) -> User:
        user = await users.find_for_update(db, self.user_id)
        assert user is not None
        return user

    def in_transaction(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        async def call() -> T:
            async with self.acting.database.unit_of_work() as db:
                return await work(db)

        return self.run(call())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)
