"""Whether anybody notices that there are a million users: the same requests with a thousand and with a million.

    python -m benchmarks.growth [--users 1000000] [--json FILE] [--postgres DIRECTORY]

Fills two databases of a PostgreSQL of its own with users who each have a session, a known device, a mail, an
audit event and so on, serves each by a process of authapi, and asks both in turn. A million users take about
3 GB under /tmp for a while. `--postgres` names the folder of other binaries: those that pip installs have no
pg_trgm, without which nothing is found in the middle of words.
"""

import argparse
import asyncio
import base64
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import asyncpg

from authapi import migrations
from authapi.security.passwords import PasswordHasher
from benchmarks.figures import Figures, arguments_of
from benchmarks.servers import Server, authapi_server
from tests.support.accounts import PASSWORD
from tests.support.crowds import email, make_crowd
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.processes import scratch_directory

FEW_USERS = 1000
MOST_GROWTH = 1.15
# What people and their devices do all day, and what an administrator begins with.
PROMISED = ("login", "me", "users_first_page", "users_last_page")
# These have a cheap hash: with the usual one nobody sees what the database does.
CHEAP_USERS = 50
# A machine that is busy with something else must not end the measurement.
PATIENT = {"AUTHAPI_REVOCATION__MAX_STALENESS": "60s", "AUTHAPI_DATABASE__TIMEOUT": "20s"}
CHEAP = {"AUTHAPI_ENVIRONMENT": "development", "AUTHAPI_PASSWORD__BCRYPT_ROUNDS": "4"}
# Somewhere else a query that has been slow for some executions gets another plan.
WARM_UP = 12
ROUNDS = 60
# Each takes a good part of a second, which hardly varies.
LOGIN_ROUNDS = 30

Call = Callable[[], float]


class Site:
    """A served authapi with so many users, as its administrator and as user number 2."""

    def __init__(self, server: Server, *, users: int) -> None:
        address = urlsplit(server.base_url)
        self.users = users
        self._connection = HTTPConnection(str(address.hostname), address.port, timeout=60)
        self._logins = 0
        self._admin = self._tokens(1)
        self._user = self._tokens(2)

    def call(self, method: str, path: str, *, token: str | None = None, **body: str) -> tuple[float, Any]:
        """Seconds of a request, and the body of its answer, which must be a success."""
        headers = {"Content-Type": "application/json"} if body else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        started = time.perf_counter()
        try:
            self._connection.request(method, path, json.dumps(body) if body else None, headers)
            response = self._connection.getresponse()
        except ConnectionError:
            # It was idle for too long.
            self._connection.close()
            return self.call(method, path, token=token, **body)
        content = response.read()
        seconds = time.perf_counter() - started
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:300]!r}")
        return seconds, json.loads(content)

    def log_in(self, count: int) -> Call:
        """Log in one user after the other."""
        those = numbers(self.users, count)

        def call() -> float:
            self._logins += 1
            number = those[self._logins % count]
            return self.call("POST", "/api/auth/login", email=email(number), password=PASSWORD)[0]

        return call

    def read(self, path: str, **parameters: Any) -> Call:
        """Read something as the administrator."""
        target = f"{path}?{urlencode(parameters)}"
        return lambda: self.call("GET", target, token=self._admin["access_token"])[0]

    def read_own(self, path: str) -> Call:
        return lambda: self.call("GET", path, token=self._user["access_token"])[0]

    def refresh(self) -> float:
        seconds, answer = self.call("POST", "/api/auth/refresh", refresh_token=self._user["refresh_token"])
        self._user = answer["data"]
        return seconds

    def read_last_page(self, sort: str) -> Call:
        """Read behind the last but thirty users of a list, with a cursor as the service makes it."""
        path, token = "/api/admin/users", self._admin["access_token"]
        opposite = sort.removeprefix("-") if sort.startswith("-") else f"-{sort}"
        _, end = self.call("GET", f"{path}?{urlencode({'sort': opposite, 'limit': 31})}", token=token)
        _, begin = self.call("GET", f"{path}?{urlencode({'sort': sort})}", token=token)
        last = end["data"][-1]
        cursor = json.loads(base64.urlsafe_b64decode(begin["page"]["next_cursor"] + "=="))
        instant = datetime.fromisoformat(last["created_at"]).isoformat()
        cursor["after"] = [instant, last["id"].replace("-", "")]
        encoded = base64.urlsafe_b64encode(json.dumps(cursor, separators=(",", ":")).encode())
        return self.read(path, sort=sort, cursor=encoded.rstrip(b"=").decode())

    def _tokens(self, number: int) -> dict[str, str]:
        _, answer = self.call("POST", "/api/auth/login", email=email(number), password=PASSWORD)
        tokens: dict[str, str] = answer["data"]
        return tokens


def numbers(users: int, count: int) -> list[int]:
    """The numbers of some users who are neither disabled nor deleted, spread over all."""
    return [4 + position * ((users - 10) // count) // 10 * 10 for position in range(count)]


def operations(site: Site) -> dict[str, Call]:
    """What is measured, by name."""
    users, events = "/api/admin/users", "/api/admin/audit-events"
    spring = {"since": "2000-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}
    # The same number of users in both databases.
    end = "999" if site.users == FEW_USERS else str(site.users - 1)
    return {
        "me": site.read_own("/api/auth/me"),
        "refresh": site.refresh,
        "profile": site.read_own("/api/profile"),
        "sessions": site.read_own("/api/auth/sessions"),
        "activity": site.read_own("/api/profile/activity"),
        "users_first_page": site.read(users),
        "users_last_page": site.read_last_page("-created_at"),
        "users_oldest_first": site.read(users, sort="created_at"),
        "users_newest_last": site.read_last_page("created_at"),
        "users_by_email": site.read(users, sort="email"),
        "users_search_one": site.read(users, q=f"user{end}@"),
        "users_search_many": site.read(users, q="user1"),
        "users_search_none": site.read(users, q="zz nobody"),
        "users_search_inside": site.read(users, q=f"ser{end}"),
        "users_auditors": site.read(users, role="auditor"),
        "users_disabled": site.read(users, status="disabled"),
        "audit_events": site.read(events),
        "audit_events_failed": site.read(events, action="user.login.failed"),
        "audit_events_of_nobody": site.read(events, ip="198.51.100.99"),
        "audit_events_between": site.read(events, **spring),
        "stats": site.read("/api/admin/stats"),
        "public_search": lambda: site.call("GET", "/api/public/search?q=lovelace")[0],
    }


def compare(
    pair: dict[str, tuple[Call, Call]], *, rounds: int, warm_up: int = WARM_UP
) -> dict[str, dict[str, float]]:
    """Medians of both in milliseconds, asked in turn, and of the ratio of the two in a turn."""
    figures = {}
    for name, calls in pair.items():
        seconds: tuple[list[float], list[float]] = ([], [])
        for turn in range(warm_up + rounds):
            for which in (0, 1) if turn % 2 else (1, 0):
                taken = calls[which]()
                if turn >= warm_up:
                    seconds[which].append(taken)
        few, many = (statistics.median(values) * 1000 for values in seconds)
        # Of each turn, and not of the medians: whatever else the machine does meanwhile, it does to both.
        ratio = statistics.median(more / less for less, more in zip(*seconds, strict=True))
        figures[name] = {"few_ms": few, "many_ms": many, "ratio": ratio}
    return figures


@contextmanager
def sites(
    directory: Path, postgres: PostgresServer, *, users: int, **env: str
) -> Iterator[tuple[Site, Site]]:
    """A process for each of the two databases."""
    with ExitStack() as stack:
        few, many = (
            Site(
                stack.enter_context(
                    authapi_server(directory, postgres.url(f"users{count}"), **PATIENT, **env)
                ),
                users=count,
            )
            for count in (FEW_USERS, users)
        )
        yield few, many


def measure_served(directory: Path, postgres: PostgresServer, *, users: int) -> dict[str, Any]:
    with sites(directory, postgres, users=users) as (few, many):
        logins = {"login": (few.log_in(90), many.log_in(90))}
        figures = compare(logins, rounds=LOGIN_ROUNDS, warm_up=2)
        by_name = operations(many)
        pairs = {name: (call, by_name[name]) for name, call in operations(few).items()}
        figures |= compare(pairs, rounds=ROUNDS)
    for count in (FEW_USERS, users):
        asyncio.run(
            make_hashes_cheap(
                postgres.dsn(f"users{count}"), (email(number) for number in numbers(count, CHEAP_USERS))
            )
        )
    with sites(directory, postgres, users=users, **CHEAP) as (few, many):
        cheap = {"login_cheap_hash": (few.log_in(CHEAP_USERS), many.log_in(CHEAP_USERS))}
        figures |= compare(cheap, rounds=ROUNDS)
    return figures


async def fill(postgres: PostgresServer, *, users: int) -> dict[str, float]:
    """Make a database with so many users, of whom the first is the administrator."""
    name = f"users{users}"
    postgres.create_database(name)
    await migrations.upgrade(postgres.url(name))
    started = time.perf_counter()
    password_hash = PasswordHasher(rounds=12).hash(PASSWORD)
    await make_crowd(postgres.dsn(name), users=users, password_hash=password_hash)
    seconds = time.perf_counter() - started
    connection = await asyncpg.connect(postgres.dsn(name))
    await connection.execute(
        "UPDATE user_roles SET role_id = (SELECT id FROM roles WHERE name = 'admin') WHERE user_id ="
        " (SELECT id FROM users WHERE email_canonical = $1)",
        email(1),
    )
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    return {"fill_seconds": seconds, "gigabytes": size / 1e9}


async def make_hashes_cheap(dsn: str, emails: Iterable[str]) -> None:
    """Give users a hash that takes no time."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "UPDATE password_credentials SET password_hash = $1 WHERE user_id IN"
        " (SELECT id FROM users WHERE email_canonical = ANY($2))",
        PasswordHasher(rounds=4).hash(PASSWORD),
        [*emails],
    )
    await connection.close()


async def measure(users: int, *, binaries: Path | None = None) -> dict[str, Any]:
    """Fill, serve and compare; by operation `few_ms`, `many_ms` and `ratio`, and what filling took."""
    with (
        tempfile.TemporaryDirectory() as directory,
        scratch_directory() as scratch,
        start_postgres(scratch, binaries=binaries) as postgres,
    ):
        await fill(postgres, users=FEW_USERS)
        filled = await fill(postgres, users=users)
        figures = await asyncio.to_thread(measure_served, Path(directory), postgres, users=users)
    return {"users": users, **filled, "operations": figures}


def add_rows(figures: Figures, measured: dict[str, Any]) -> None:
    """Add what `measure` returned; the promise is about some of the operations."""
    figures.add("filling", seconds=measured["fill_seconds"], gigabytes=measured["gigabytes"])
    for name, values in measured["operations"].items():
        is_kept = values["ratio"] <= MOST_GROWTH if name in PROMISED else None
        figures.add(f"growth: {name}", is_kept=is_kept, **values)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--postgres", type=Path, default=None, metavar="DIRECTORY")
    arguments, options = arguments_of(parser)
    figures = Figures("growth", {name: str(value) for name, value in options.items()})
    measured = asyncio.run(measure(arguments.users, binaries=arguments.postgres))
    add_rows(figures, measured)
    sys.exit(figures.finish(arguments.json))


if __name__ == "__main__":
    main()
