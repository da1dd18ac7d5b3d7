"""What authapi is measured against: FastAPI, Pydantic and SQLAlchemy with nothing around them.

One route answers what `GET /api/auth/me` answers, field by field; the engine connects at the start. Nothing of
authapi is imported, which would make this application start slower. Served by
`uvicorn benchmarks.bare_app:app`; `BARE_DATABASE_URL` names the database.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine


class Me(BaseModel):
    user_id: UUID
    email: str
    role: str | None
    roles: list[str]
    scopes: list[str]
    session_id: UUID
    amr: list[str]
    auth_time: datetime


class Envelope(BaseModel):
    message: str
    data: Me


USER_ID, SESSION_ID, AUTH_TIME = uuid4(), uuid4(), datetime(2026, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(os.environ["BARE_DATABASE_URL"], pool_size=10)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/me")
async def me() -> Envelope:
    """The same answer every time."""
    return Envelope(
        message="This is who the token speaks for.",
        data=Me(
            user_id=USER_ID,
            email="ada@example.com",
            role="user",
            roles=["user"],
            scopes=["profile:read", "profile:write"],
            session_id=SESSION_ID,
            amr=["pwd"],
            auth_time=AUTH_TIME,
        ),
    )
