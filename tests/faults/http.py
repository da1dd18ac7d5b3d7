"""A client with a connection for each request: what fails then is the request, never a stale connection."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

PASSWORD = "correct Horse 7 battery"
TIMEOUT_SECONDS = 30.0


class NoAnswer(Exception):
    """The connection was refused or cut, or nothing came in time: nobody knows what was done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and after how many seconds."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> dict[str, Any]:
        """The `data` of the envelope."""
        data: dict[str, Any] = self.json()["data"]
        return data


class Client:
    """Talks to a port of this machine."""

    def __init__(self, port: int, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.port = port
        self._timeout = timeout

    async def get(self, path: str, *, token: str | None = None) -> Answer:
        return await self.send(request("GET", path, token=token))

    async def post(self, path: str, body: object = None, *, token: str | None = None) -> Answer:
        return await self.send(request("POST", path, body, token=token))

    async def try_get(self, path: str) -> Answer | None:
        """None where there is no answer."""
        try:
            return await self.get(path)
        except NoAnswer:
            return None

    async def send(self, raw: bytes) -> Answer:
        """Send bytes and read one answer; raises `NoAnswer`."""
        started = time.monotonic()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(raw)
                received = await reader.read()
        except (OSError, TimeoutError) as error:
            raise NoAnswer(f"{type(error).__name__} after {time.monotonic() - started:.2f} s") from None
        finally:
            if writer is not None:
                writer.close()
        return _parse(received, time.monotonic() - started)

    # The calls that scenarios make.

    async def register(self, email: str, password: str = PASSWORD) -> Answer:
        body = {"email": email, "password": password, "full_name": "Ada Lovelace"}
        return await self.post("/api/auth/register", body)

    async def log_in(
        self, email: str, password: str = PASSWORD, *, device_token: str | None = None
    ) -> Answer:
        body = {"email": email, "password": password, "device_token": device_token}
        return await self.post("/api/auth/login", body)

    async def refresh(self, refresh_token: str) -> Answer:
        return await self.post("/api/auth/refresh", {"refresh_token": refresh_token})

    async def log_out(self, token: str) -> Answer:
        return await self.post("/api/auth/logout", token=token)

    async def account(self, email: str) -> dict[str, Any]:
        """A new account: what its registration answered."""
        answer = await self.register(email)
        assert answer.status == 201, answer.body
        return answer.data


def request(method: str, path: str, body: object = None, *, token: str | None = None) -> bytes:
    """The bytes of a request that asks for the end of its connection."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines.append("Content-Type: application/json")
    if method != "GET":
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode() + content


def _parse(received: bytes, seconds: float) -> Answer:
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        raise NoAnswer(f"cut off after {len(received)} bytes and {seconds:.2f} s")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "content-length" in headers and len(body) < int(headers["content-length"]):
        raise NoAnswer("the answer is cut off")
    return Answer(int(first.split()[1]), headers, body, seconds)
