"""A login whose client has left while it waited: nothing is hashed for it, and it counts as no try."""

import asyncio
import json
import threading
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from sqlalchemy import select

from authapi.models import LoginThrottle, UserSession
from tests.security.test_hashing_pool import until
from tests.support.accounts import PASSWORD
from tests.support.served_authapi import ServedAuthapi, served_authapi

BODY = json.dumps({"email": "ada@example.com", "password": PASSWORD})
REQUEST = f"""POST /api/auth/login HTTP/1.1\r
Host: 127.0.0.1\r
Content-Type: application/json\r
Content-Length: {len(BODY)}\r
\r
{BODY}"""


async def start_login(served: ServedAuthapi) -> asyncio.StreamWriter:
    address = urlsplit(served.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(REQUEST.encode())
    return writer


async def test_it_is_not_hashed_for(tmp_path: Path) -> None:
    async with served_authapi(tmp_path, password={"hash_workers": 1}) as served:
        await served.register()
        runtime = served.app.state.runtime
        pool = runtime.hasher.pool
        opened = threading.Event()
        holder = asyncio.create_task(pool.run(opened.wait, fairness_key="the test"))
        await until(lambda: pool.running == 1)
        before = pool.hashes_total
        writer = await start_login(served)
        await until(lambda: pool.queued == 1)
        writer.close()
        await writer.wait_closed()
        # Until the server's loop has seen it.
        await asyncio.sleep(0.2)
        opened.set()
        await holder
        await until(lambda: pool.places.taken == 0)
        # The holder's alone.
        assert pool.hashes_total - before == 1
        # It gives its place back before its transaction ends.
        await until(lambda: runtime.database.connections_in_use == 0)
        async with runtime.database.reading() as db:
            assert set(await db.scalars(select(LoginThrottle.failures))) <= {0}
            sessions = len((await db.scalars(select(UserSession.id))).all())
        async with httpx.AsyncClient(base_url=served.url) as client:
            answer = await client.post("/api/auth/login", json=json.loads(BODY))
            assert answer.status_code == 200
            assert 'route="/api/auth/login",status="none"} 1.0' in (await client.get("/metrics")).text
        async with runtime.database.reading() as db:
            assert len((await db.scalars(select(UserSession.id))).all()) == sessions + 1
