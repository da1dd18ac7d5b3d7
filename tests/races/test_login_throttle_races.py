"""Strangers who hammer an account, and what its other users notice of it."""

import asyncio

import pytest
from sqlalchemy import select

from authapi import errors
from authapi.models import LoginThrottle
from authapi.runtime import Runtime
from authapi.services import login_throttle

EMAIL = "ada@example.com"


async def try_once(runtime: Runtime) -> None:
    async with runtime.database.unit_of_work() as db:
        await login_throttle.begin(db, runtime, identifier=EMAIL, user_id=None)


async def test_a_refused_try_waits_for_no_lock(runtime: Runtime) -> None:
    if runtime.database.is_sqlite:
        pytest.skip("SQLite has one lock for everything")
    for _ in range(login_throttle.PAIR.free):
        await try_once(runtime)
    async with runtime.database.unit_of_work() as other, asyncio.timeout(1):
        assert (await other.scalars(select(LoginThrottle).with_for_update())).all()
        with pytest.raises(errors.TooManyAttempts):
            await try_once(runtime)
