"""Whether anybody who registers notices what the mail server is doing, and whether every mail arrives in the end.

    python -m benchmarks.mail_outage [--cycles 3] [--registrations 30] [--rounds 10]

The mail server is healthy, down, healthy, slow (every command takes five seconds), healthy, refusing (4xx), and so
on: what drifts, drifts for all alike. After each outage everything that waits is let through before the next
phase is timed. In the last cycle authapi is killed (SIGKILL) and started again in the middle of the phases `down`
and `slow`, when mails wait and mails are half sent. Fails if a median is more than a tenth above that of the
healthy phases, or if a mail is lost. A mail that came twice has the Message-ID of the first.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import httpx
from aiosmtpd.smtp import SMTP, Envelope, Session

from benchmarks.figures import Figures, arguments_of, database_url, mail_server, percentile, run_authapi
from tests.support.accounts import PASSWORD
from tests.support.processes import scratch_directory
from tests.support.smtp_server import SmtpServer
from tests.support.workers import SECRET_KEY, Worker, running_workers, worker_environment

SLOW_SECONDS = 5.0
MAX_RATIO = 1.10
# A killed sender's mails are its own for a minute; then each takes four slow commands.
DRAIN_SECONDS = 300.0
WARM_UP = 10
OUTAGES = ("down", "slow", "4xx")


@dataclass
class UnreliableSmtpServer(SmtpServer):
    """Takes `SLOW_SECONDS` for every command of a mail in the mode `slow`."""

    delay: float = SLOW_SECONDS

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await self._wait()
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await self._wait()
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def _wait(self) -> None:
        if self.mode == "slow":
            await asyncio.sleep(self.delay)


class Trial:
    """Registers people, phase after phase, and waits for their mails."""

    def __init__(
        self,
        worker: Worker,
        client: httpx.AsyncClient,
        mail: SmtpServer,
        *,
        call: Callable[[Literal["start", "stop"]], None],
    ) -> None:
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.registered: set[str] = set()
        self.longest_drain = 0.0
        self._worker = worker
        self._client = client
        self._mail = mail
        self._call = call
        self._numbers = count()

    async def phase(self, mode: str, number: int, *, kill: bool = False) -> None:
        """Register so many people while the mail server is in this mode."""
        self._set_mode(mode)
        for done in range(number):
            if kill and done == number // 2:
                self._worker.kill()
                self._worker.launch()
                await self._worker.wait_until_ready()
                await self._register("warm-up")
            await self._register(mode)
        self._set_mode("ok")
        started = time.monotonic()
        while self.missing:
            await asyncio.sleep(0.1)
            if time.monotonic() - started > DRAIN_SECONDS:
                raise TimeoutError(f"{len(self.missing)} mails have not arrived")
        self.longest_drain = max(self.longest_drain, time.monotonic() - started)

    @property
    def recipients(self) -> Counter[str]:
        return Counter(recipient for envelope in list(self._mail.accepted) for recipient in envelope.rcpt_tos)

    @property
    def missing(self) -> set[str]:
        return self.registered - self.recipients.keys()

    async def _register(self, mode: str) -> None:
        email = f"user{next(self._numbers)}@example.com"
        body = {"email": email, "password": PASSWORD, "full_name": "Ada Lovelace"}
        started = time.perf_counter()
        response = await self._client.post(f"{self._worker.url}/api/auth/register", json=body)
        self.seconds[mode].append(time.perf_counter() - started)
        assert response.status_code == 201, response.text
        self.registered.add(email)

    def _set_mode(self, mode: str) -> None:
        is_down = self._mail.mode == "down"
        if is_down and mode != "down":
            self._call("start")
        if mode == "down" and not is_down:
            self._call("stop")
        self._mail.mode = mode


def report(trial: Trial, mail: SmtpServer, figures: Figures) -> None:
    healthy = percentile(trial.seconds["ok"], 0.5)
    for mode in ("ok", *OUTAGES):
        seconds = trial.seconds[mode]
        ratio = percentile(seconds, 0.5) / healthy
        figures.add(
            f"registration, mail server {mode}",
            is_kept=ratio <= MAX_RATIO,
            registrations=len(seconds),
            p50_ms=percentile(seconds, 0.5) * 1000,
            ratio=ratio,
            p95_ms=percentile(seconds, 0.95) * 1000,
            max_ms=max(seconds) * 1000,
        )
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for message in mail.messages:
        ids[str(message["To"])].add(str(message["Message-ID"]))
    arrived = trial.recipients
    doubles = {recipient: number for recipient, number in arrived.items() if number > 1}
    figures.add(
        "mails",
        is_kept=not trial.missing and all(len(several) == 1 for several in ids.values()),
        registered=len(trial.registered),
        arrived=len(arrived),
        lost=len(trial.missing),
        twice=len(doubles),
        one_message_id_each=all(len(several) == 1 for several in ids.values()),
        longest_wait_after_outage_s=trial.longest_drain,
    )


async def run(directory: Path, url: str, arguments: argparse.Namespace, figures: Figures) -> None:
    server = UnreliableSmtpServer()
    with mail_server(server) as call:
        environment = worker_environment(
            directory / "data",
            SECRET_KEY=SECRET_KEY,
            DATABASE__URL=url,
            PASSWORD__BCRYPT_ROUNDS=str(arguments.rounds),
            MAIL__URL=server.url,
            LOG__LEVEL="error",
        )
        run_authapi(directory, environment, "db", "upgrade")
        async with (
            running_workers(directory, environment, number=1) as [worker],
            httpx.AsyncClient(timeout=60) as client,
        ):
            trial = Trial(worker, client, server, call=call)
            await trial.phase("ok", WARM_UP)
            trial.seconds.clear()
            for cycle in range(arguments.cycles):
                for outage in OUTAGES:
                    await trial.phase("ok", arguments.registrations)
                    kill = cycle == arguments.cycles - 1 and outage != "4xx"
                    await trial.phase(outage, arguments.registrations, kill=kill)
            report(trial, server, figures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--registrations", type=int, default=30, help="in each phase")
    parser.add_argument("--rounds", type=int, default=10, help="of bcrypt")
    arguments, options = arguments_of(parser)
    figures = Figures("mail_outage", options)
    with scratch_directory() as directory, database_url("postgresql", directory) as url:
        asyncio.run(run(directory, url, arguments, figures))
    return figures.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
