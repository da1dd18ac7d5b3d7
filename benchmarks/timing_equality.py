"""Whether the time or any byte of an answer tells if an account, or a service client, exists.

    python -m benchmarks.timing_equality [--pairs 1000] [--database postgresql|sqlite] [--only abc]

Serves authapi as a process of its own, in the mode `verify_first`, with limits that do not interfere and cheap
hashes (4 rounds): the noise of a hash of 12 rounds would only hide what is to be seen. The two sides of a pair
are asked one after the other, in random order, over one kept connection; a pause lets the mail of the request
before leave, which would otherwise slow down whichever side comes second. Fails if an area under the curve is
outside 0.45 to 0.55, if medians differ by 2 ms, or if status, headers or body differ.
"""

import argparse
import asyncio
import base64
import gc
import json
import random  # noqa: TID251 - orders and names, no secrets
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import update

from authapi import clock
from authapi.database import Database
from authapi.models import LoginThrottle, ServiceClient
from authapi.security.passwords import PasswordHasher
from authapi.services.login_throttle import ACCOUNT
from benchmarks.figures import (
    Figures,
    area_under_curve,
    arguments_of,
    database_url,
    mail_server,
    percentile,
    run_authapi,
)
from tests.support.accounts import PASSWORD
from tests.support.processes import scratch_directory
from tests.support.smtp_server import SmtpServer
from tests.support.workers import PLENTY, SECRET_KEY, running_workers, worker_environment

WARM_UP = 50
THROTTLED = CLIENTS = 20
# The server closes a connection that has been idle for five seconds.
RECONNECT_SECONDS = 2.0
MAX_MEDIAN_DIFFERENCE_MS = 2.0
# These say when and for which request, or how much of an address's limit is left.
VOLATILE = ("date", "x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after")

_clients = count(1)


@dataclass(frozen=True)
class Ask:
    """A request about one address or client id."""

    path: str
    body: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Two kinds of addresses, or of client ids, that one request must not tell apart."""

    letter: str
    name: str
    ask: Callable[[str], Ask]
    left: list[str]
    right: list[str]


@dataclass(frozen=True)
class Answer:
    milliseconds: float
    status: int
    shown: str


class Stranger:
    """A client with one connection; every request comes from a new address, by a trusted proxy."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        self._used_at = 0.0

    def send(self, ask: Ask) -> Answer:
        """The answer, with everything in it that must be equal."""
        headers = {
            "Content-Type": "application/json",
            "X-Forwarded-For": str(IPv4Address("11.0.0.0") + next(_clients)),
            **ask.headers,
        }
        content = None if ask.body is None else json.dumps(ask.body).encode()
        if time.perf_counter() - self._used_at > RECONNECT_SECONDS:
            self._connection.close()
            self._connection.connect()
        started = time.perf_counter()
        self._connection.request("POST", ask.path, content, headers)
        response = self._connection.getresponse()
        body = response.read()
        self._used_at = time.perf_counter()
        milliseconds = (self._used_at - started) * 1000
        request_id = response.headers["X-Request-ID"]
        shown = [f"{name.lower()}: {value}" for name, value in response.getheaders()]
        names = [line.partition(":")[0] for line in shown]
        values = [line for line, name in zip(shown, names, strict=True) if name not in VOLATILE]
        text = "\n".join([*names, "", *values, "", body.decode()])
        return Answer(milliseconds, response.status, text.replace(request_id, "(request id)"))


def addresses(kind: str, number: int) -> list[str]:
    """Addresses that look alike whatever they are: the same length, in no order."""
    generator = random.Random(kind)
    return [f"{generator.getrandbits(48):012x}@example.com" for _ in range(number)]


def client_ids(kind: str) -> list[str]:
    """Ids of service clients."""
    generator = random.Random(f"clients {kind}")
    return [f"svc_{generator.getrandbits(128):032x}" for _ in range(CLIENTS)]


def measure(stranger: Stranger, case: Case, *, pairs: int, pause: float, figures: Figures) -> None:
    sides: tuple[list[Answer], list[Answer]] = ([], [])
    order = random.Random(case.letter)
    gc.collect()
    gc.disable()
    for number in range(WARM_UP + pairs):
        emails = (case.left[number % len(case.left)], case.right[number % len(case.right)])
        for side in order.sample((0, 1), 2):
            time.sleep(pause)
            answer = stranger.send(case.ask(emails[side]))
            if number >= WARM_UP:
                sides[side].append(answer)
    gc.enable()
    times = [[answer.milliseconds for answer in side] for side in sides]
    answers = [{(answer.status, answer.shown) for answer in side} for side in sides]
    auc = area_under_curve(times[0], times[1])
    medians = [percentile(values, 0.5) for values in times]
    are_equal = answers[0] == answers[1] and len(answers[0]) == 1
    figures.add(
        f"{case.letter} {case.name}",
        is_kept=0.45 <= auc <= 0.55 and abs(medians[0] - medians[1]) < MAX_MEDIAN_DIFFERENCE_MS and are_equal,
        auc=auc,
        median_ms=medians[0],
        median_difference_ms=medians[1] - medians[0],
        p95_ms=percentile(times[0], 0.95),
        p95_difference_ms=percentile(times[1], 0.95) - percentile(times[0], 0.95),
        statuses=sorted({answer.status for answer in sides[0] + sides[1]}),
        are_answers_equal=are_equal,
    )
    if not are_equal:
        for kinds in answers:
            print(*(f"     {status}\n{shown}" for status, shown in list(kinds)[:2]), sep="\n")


def cases(
    verified: list[str],
    unverified: list[str],
    throttled: list[str],
    *,
    clients: list[str],
    token: str,
    device_token: str,
) -> list[Case]:
    """The known addresses are registered; every other list is of addresses that nobody has."""

    def others(letter: str) -> list[str]:
        return addresses(f"unknown {letter}", len(verified))

    def login_with_own_device(email: str) -> Ask:
        return Ask("/api/auth/login", {**(wrong_login(email).body or {}), "device_token": device_token})

    def wrong_basic(name: str, path: str = "/login") -> Ask:
        credentials = base64.b64encode(f"{name}:a wrong password".encode()).decode()
        return Ask(path, headers={"Authorization": f"Basic {credentials}"})

    def wrong_client(client_id: str) -> Ask:
        return wrong_basic(client_id, "/api/auth/introspect")

    def register(email: str) -> Ask:
        body = {"email": email, "password": PASSWORD, "full_name": "Ada Lovelace"}
        return Ask("/api/auth/register", body)

    def change(email: str) -> Ask:
        body = {"new_email": email, "password": PASSWORD}
        return Ask("/api/auth/email/change", body, {"Authorization": f"Bearer {token}"})

    def forgot(email: str) -> Ask:
        return Ask("/api/auth/password/forgot", {"email": email})

    def resend(email: str) -> Ask:
        return Ask("/api/auth/email/verify/resend", {"email": email})

    return [
        Case("a", "login: known / unknown", wrong_login, verified, others("a")),
        Case("b", "login, throttled: known / unknown", wrong_login, throttled, addresses("b", THROTTLED)),
        Case("c", "password/forgot: known / unknown", forgot, verified, others("c")),
        Case("d", "verify/resend: unverified / unknown", resend, unverified, others("d")),
        Case("e", "register: known / unknown", register, verified, others("e")),
        Case("f", "email/change: taken / free", change, verified, others("f")),
        Case("g", "Basic /login: known / unknown", wrong_basic, verified, others("g")),
        Case("h", "verify/resend: verified / unknown", resend, verified, others("h")),
        Case("i", "login, own device: known / unknown", login_with_own_device, verified, others("i")),
        Case("j", "introspect by client: known / unknown", wrong_client, clients, client_ids("unknown")),
    ]


def wrong_login(email: str) -> Ask:
    return Ask("/api/auth/login", {"email": email, "password": "a wrong password"})


async def throttle(stranger: Stranger, emails: list[str], url: str) -> None:
    """Guess until each address is throttled, and let the waits last for the whole measurement."""
    for _ in range(ACCOUNT.free):
        for email in emails:
            stranger.send(wrong_login(email))
    database = Database(url)
    async with database.unit_of_work() as db:
        until = clock.utc_now() + timedelta(hours=2)
        statement = update(LoginThrottle).where(LoginThrottle.blocked_until.is_not(None))
        await db.execute(statement.values(blocked_until=until))
    await database.close()


async def add_clients(ids: list[str], url: str) -> None:
    """Service clients of these ids, whose secret nobody has."""
    database = Database(url)
    async with database.unit_of_work() as db:
        db.add_all(
            ServiceClient(client_id=client_id, name="Client", secret_hash=secrets.token_bytes(32), scopes=[])
            for client_id in ids
        )
    await database.close()


def write_users(file: Path, emails: Mapping[str, bool]) -> None:
    """A file to import: addresses, and whether each is verified."""
    password_hash = PasswordHasher(rounds=4).hash(PASSWORD)
    with file.open("w") as out:
        for email, is_verified in emails.items():
            values = {"email": email, "full_name": "Ada Lovelace", "email_verified": is_verified}
            out.write(json.dumps(values | {"password_hash": password_hash}) + "\n")


async def run(directory: Path, url: str, arguments: argparse.Namespace, figures: Figures) -> None:
    number = WARM_UP + arguments.pairs
    verified, unverified = addresses("verified", number), addresses("unverified", number)
    throttled, caller = addresses("throttled", THROTTLED), "caller@example.com"
    everybody = dict.fromkeys([*verified, *throttled, caller], True) | dict.fromkeys(unverified, False)
    write_users(directory / "users.jsonl", everybody)
    mail = SmtpServer()
    with mail_server(mail):
        environment = worker_environment(
            directory / "data",
            SECRET_KEY=SECRET_KEY,
            DATABASE__URL=url,
            PROXY__TRUSTED="127.0.0.1",
            REGISTRATION__MODE="verify_first",
            MAIL__URL=mail.url,
            LOG__LEVEL="warning",
        )
        run_authapi(directory, environment, "db", "upgrade")
        run_authapi(directory, environment, "users", "import", "users.jsonl")
        async with running_workers(directory, environment, number=1) as [worker]:
            stranger = Stranger(worker.url)
            login = stranger.send(Ask("/api/auth/login", {"email": caller, "password": PASSWORD}))
            own = json.loads(login.shown.splitlines()[-1])["data"]
            clients = client_ids("known")
            await add_clients(clients, url)
            everything = cases(
                verified,
                unverified,
                throttled,
                clients=clients,
                token=own["access_token"],
                device_token=own["device_token"],
            )
            for case in everything:
                if case.letter not in arguments.only:
                    continue
                if case.letter == "b":
                    await throttle(stranger, [*case.left, *case.right], url)
                try:
                    measure(stranger, case, pairs=arguments.pairs, pause=arguments.pause, figures=figures)
                except (OSError, HTTPException):
                    print((directory / f"{worker.name}.out").read_text()[-3000:])
                    raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--only", default="abcdefghij", metavar="LETTERS", help="cases to measure")
    parser.add_argument("--pause", type=float, default=0.03, metavar="SECONDS", help="before each request")
    arguments, options = arguments_of(parser)
    figures = Figures("timing_equality", options | {"bcrypt_rounds": 4, "limits": PLENTY})
    with scratch_directory() as directory, database_url(arguments.database, directory) as url:
        asyncio.run(run(directory, url, arguments, figures))
    return figures.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
