"""Nobody chooses the host in our mails, pages and redirects by what he sends as the request's (ASVS 1.2.2).

Raw requests over a socket: clients would not send most of these. The service trusts its proxy here, which is
when it listens to what proxies say about an address, and must still not about a host.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from authapi.services import mail_links
from tests.support.accounts import PASSWORD
from tests.support.mails import Mails, new_address
from tests.support.served_authapi import ServedAuthapi, served_authapi

PUBLIC_URL = "https://auth.example.org"
EVIL = "evil.example"
OURS = "auth.example.org"


@dataclass(frozen=True)
class Shape:
    """How a request says whom it is for; `origin` comes before the path (absolute-form)."""

    name: str
    headers: tuple[str, ...] = (f"Host: {OURS}",)
    origin: str = ""
    version: str = "1.1"
    extra: tuple[str, ...] = ()


def forwarded(name: str, *extra: str) -> Shape:
    return Shape(name, extra=extra)


SHAPES = [
    Shape("host", (f"Host: {EVIL}",)),
    Shape("host with port", (f"Host: {EVIL}:443",)),
    Shape("host with our name before", (f"Host: {OURS}.{EVIL}",)),
    Shape("host with our name as user", (f"Host: {OURS}@{EVIL}",)),
    Shape("host with our name as password", (f"Host: {OURS}:80@{EVIL}",)),
    Shape("host with ours as path", (f"Host: {EVIL}/{OURS}",)),
    Shape("host with query", (f"Host: {EVIL}?{OURS}",)),
    Shape("host with fragment", (f"Host: {EVIL}#{OURS}",)),
    Shape("host with backslash", (f"Host: {EVIL}\\{OURS}",)),
    Shape("host with space", (f"Host: {OURS} {EVIL}",)),
    Shape("host with tab", (f"Host:\t{EVIL}",)),
    Shape("host with comma", (f"Host: {OURS}, {EVIL}",)),
    Shape("host with a bad port", (f"Host: {OURS}:@{EVIL}:x",)),
    Shape("host in brackets", (f"Host: [{EVIL}]",)),
    Shape("host in capitals", (f"HOST: {EVIL.upper()}",)),
    Shape("host as a whole address", (f"Host: https://{EVIL}/",)),
    Shape("host with a link", (f'Host: {EVIL}"><a href="https://{EVIL}',)),
    Shape("folded host", (f"Host: {OURS}\r\n {EVIL}",)),
    Shape("twice, ours first", (f"Host: {OURS}", f"Host: {EVIL}")),
    Shape("twice, ours last", (f"Host: {EVIL}", f"Host: {OURS}")),
    Shape("name with a space", (f"Host : {EVIL}", f"Host: {OURS}")),
    Shape("none", ()),
    Shape("empty", ("Host:",)),
    Shape("none, HTTP/1.0", (), version="1.0"),
    Shape("foreign, HTTP/1.0", (f"Host: {EVIL}",), version="1.0"),
    Shape("absolute form", origin=f"https://{EVIL}"),
    Shape("absolute form with user", origin=f"http://{OURS}@{EVIL}"),
    Shape("absolute form, both", (f"Host: {EVIL}",), origin=f"https://{EVIL}"),
    Shape("absolute form without a scheme", origin=f"//{EVIL}"),
    forwarded("X-Forwarded-Host", f"X-Forwarded-Host: {EVIL}"),
    forwarded("X-Forwarded-Host, several", f"X-Forwarded-Host: {OURS}, {EVIL}"),
    forwarded("X-Forwarded-Host, twice", f"X-Forwarded-Host: {EVIL}", f"X-Forwarded-Host: {EVIL}"),
    forwarded("X-Forwarded-Proto", "X-Forwarded-Proto: http"),
    forwarded("X-Forwarded-Proto with a host", f"X-Forwarded-Proto: http://{EVIL}/?"),
    forwarded(
        "proto and host", "X-Forwarded-Proto: http", f"X-Forwarded-Host: {EVIL}", "X-Forwarded-Port: 1"
    ),
    forwarded("Forwarded", f"Forwarded: for=192.0.2.1;host={EVIL};proto=http"),
    forwarded("Forwarded, quoted", f'Forwarded: host="{EVIL}:80";proto=http, host={EVIL}'),
    forwarded("X-Forwarded-Server", f"X-Forwarded-Server: {EVIL}", f"X-Forwarded-Prefix: //{EVIL}"),
    forwarded(
        "X-Host and others", f"X-Host: {EVIL}", f"X-HTTP-Host-Override: {EVIL}", f"X-Real-Host: {EVIL}"
    ),
    forwarded("X-Original-URL", f"X-Original-URL: https://{EVIL}/", f"X-Rewrite-URL: https://{EVIL}/"),
    forwarded("Origin and Referer", f"Origin: https://{EVIL}", f"Referer: https://{EVIL}/"),
]
# RFC 9112 section 3.2 has servers refuse these; there is nothing to choose then.
MAY_BE_REFUSED = {
    "folded host",
    "twice, ours first",
    "twice, ours last",
    "name with a space",
    "none",
    "empty",
    "absolute form without a scheme",
}
READ = [
    "/forgot-password",
    "/resend-verification",
    "/forgot-password/",
    "/verify-email?token=x",
    "/.well-known/change-password",
    "/.well-known/oauth-authorization-server",
    "/openapi.json",
    "/docs",
    "/nowhere",
    f"//{EVIL}/..",
    "/api/auth/me",
]


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedAuthapi]:
    directory = tmp_path_factory.mktemp("hosts")
    async with served_authapi(
        directory,
        public_url=PUBLIC_URL,
        proxy={"trusted": ["127.0.0.0/8"]},
        cors={"allowed_origins": ["https://app.example.org"]},
    ) as served:
        yield served


async def ask(served: ServedAuthapi, shape: Shape, method: str, path: str, body: object = None) -> str:
    """Send one request and return all that comes back, headers included; an unanswered one is ''."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {shape.origin}{path} HTTP/{shape.version}",
        *shape.headers,
        *shape.extra,
        "Connection: close",
        *((f"Content-Length: {len(content)}", "Content-Type: application/json") if content else ()),
    ]
    address = urlsplit(served.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + content)
        async with asyncio.timeout(10):
            return (await reader.read()).decode()
    except ConnectionResetError:
        return ""
    finally:
        writer.close()


def status(answer: str) -> int:
    return int(answer.split(" ", 2)[1]) if answer else 0


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_no_foreign_host_comes_back(served: ServedAuthapi, shape: Shape) -> None:
    email = new_address()
    body = {"email": email, "password": PASSWORD, "full_name": "Ada Lovelace"}
    registered, *answers = [
        await ask(served, shape, "POST", "/api/auth/register", body),
        await ask(served, shape, "POST", "/api/auth/password/forgot", {"email": email}),
        await ask(served, shape, "POST", "/api/auth/email/verify/resend", {"email": email}),
        *[await ask(served, shape, "GET", path) for path in READ],
    ]
    for answer in (registered, *answers):
        assert EVIL not in answer.lower()
        assert status(answer) < 500
    if shape.name in MAY_BE_REFUSED and status(registered) in {400, 404}:
        return
    assert status(registered) == 201
    mails = Mails(served.app)
    links = [
        await mails.link(email, mail_links.VERIFY_EMAIL, count=2),
        await mails.link(email, mail_links.RESET_PASSWORD),
    ]
    assert {urlsplit(link)[:2] for link in links} == {("https", OURS)}
    for mail in await mails.all(email, count=3):
        assert EVIL not in f"{mail.subject}{mail.text}{mail.html}{mail.headers}".lower()


async def test_redirects_are_paths(served: ServedAuthapi) -> None:
    answer = await ask(served, SHAPES[0], "GET", "/.well-known/change-password")
    assert status(answer) == 303
    assert "location: /forgot-password\r\n" in answer.lower()
