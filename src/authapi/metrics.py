"""Every metric of authapi, for Prometheus. Labels are route templates and fixed words, never what a client sent.

Counters and histograms are added to as things happen. Gauges are read from the runtime when somebody asks.
With several worker processes the one that is asked cannot look into the others: then PROMETHEUS_MULTIPROC_DIR
is set (`authapi serve --workers` does it), each process writes its numbers into files there, and an answer is
made of all files.
"""

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from authapi import clock
from authapi.background import Repeating
from authapi.observer import LoginOutcome, Observer, RefreshOutcome
from authapi.rate_limit import LIMIT_NAMES, RateLimits
from authapi.runtime import Runtime

SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
PUBLISH_SECONDS = 2.0

REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A job is given up after five seconds in the queue.
WAIT_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
LOGIN_OUTCOMES: tuple[LoginOutcome, ...] = ("success", "failure", "throttled", "mfa_required", "disabled")
REFRESH_OUTCOMES: tuple[RefreshOutcome, ...] = ("rotated", "converged", "reused", "refused")

# One timestamp for each series says nothing that a restart does not show.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Reading:
    """A gauge and where its value comes from; None: there is none now. `across` joins worker processes."""

    name: str
    help: str
    read: Callable[[], float | None]
    across: Literal["livesum", "livemax"]


@dataclass(frozen=True, slots=True)
class Outbox:
    """How many mails wait, and how many have been given up."""

    pending: int
    dead: int


class Metrics(Observer):
    """One app's metrics, in a registry of its own: several apps may live in one process."""

    def __init__(self) -> None:
        self._directory = os.environ.get(SHARED_DIRECTORY)
        self._registry = registry = CollectorRegistry()
        self._readings: list[Reading] = []
        self._published: dict[str, Gauge] = {}
        self.requests = Counter(
            "authapi_http_requests",
            "Requests answered; status is its class, `none` if the client left first.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "authapi_http_request_duration_seconds",
            "From the first byte of a request to the last of its answer.",
            ("method", "route"),
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self.requests_in_progress = Gauge(
            "authapi_http_requests_in_progress",
            "Requests that are being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._logins = Counter(
            "authapi_logins", "Steps of logins, by what came of them.", ("outcome",), registry=registry
        )
        self._refreshes = Counter(
            "authapi_refresh",
            "Refresh tokens presented, by what came of them.",
            ("outcome",),
            registry=registry,
        )
        self._hashes = Counter("authapi_password_hashes", "Passwords hashed or verified.", registry=registry)
        self._hash_waits = Histogram(
            "authapi_hash_wait_seconds",
            "How long a password waited for a hashing thread.",
            buckets=WAIT_SECONDS,
            registry=registry,
        )
        self._hashes_refused = Counter(
            "authapi_hash_refused", "Requests refused because too many passwords waited.", registry=registry
        )
        self._mails = Counter("authapi_mail_sent", "Mails that the mail server took.", registry=registry)
        self._rate_limited = Counter(
            "authapi_rate_limited", "Requests refused with 429, by limit.", ("limit",), registry=registry
        )
        # A counter that appears with its first event has no increase, and no alert.
        for login in LOGIN_OUTCOMES:
            self._logins.labels(login)
        for refresh in REFRESH_OUTCOMES:
            self._refreshes.labels(refresh)
        for limit in LIMIT_NAMES:
            self._rate_limited.labels(limit)

    def login(self, outcome: LoginOutcome) -> None:
        self._logins.labels(outcome).inc()

    def refresh(self, outcome: RefreshOutcome) -> None:
        self._refreshes.labels(outcome).inc()

    def hash_started(self, waited: float) -> None:
        self._hashes.inc()
        self._hash_waits.observe(waited)

    def hash_refused(self) -> None:
        self._hashes_refused.inc()

    def mail_sent(self) -> None:
        self._mails.inc()

    def rate_limited(self, limit: str) -> None:
        self._rate_limited.labels(limit).inc()

    @property
    def is_shared(self) -> bool:
        """Whether other processes write to the same directory."""
        return self._directory is not None

    def watch(self, runtime: Runtime, rate_limits: RateLimits) -> None:
        """Take the gauges from these from now on."""
        self._readings = _readings(runtime, rate_limits)
        if self.is_shared:
            self._published = {
                reading.name: Gauge(
                    reading.name, reading.help, registry=self._registry, multiprocess_mode=reading.across
                )
                for reading in self._readings
            }
        else:
            ProcessCollector(registry=self._registry)

    def publishing_task(self) -> Repeating:
        """The loop that writes this process's gauges where the other processes find them."""

        async def publish() -> None:
            self._publish()

        return Repeating("metrics", publish, seconds=PUBLISH_SECONDS, timeout=PUBLISH_SECONDS)

    async def render(self, *, outbox: Outbox | None) -> bytes:
        """Everything in Prometheus' text format 0.0.4; without the outbox where that could not be read."""
        if self._directory is None:
            return generate_latest(_Families([*self._registry.collect(), *self._gauges(), *_mail(outbox)]))
        self._publish()
        # The files are read off the event loop: they grow with routes and workers.
        shared = await asyncio.to_thread(_read_shared, Path(self._directory))
        return generate_latest(_Families([*shared, *_mail(outbox)]))

    def _gauges(self) -> Iterator[Metric]:
        for reading in self._readings:
            value = reading.read()
            if value is not None:
                yield GaugeMetricFamily(reading.name, reading.help, value=value)

    def _publish(self) -> None:
        for reading in self._readings:
            value = reading.read()
            if value is not None:
                self._published[reading.name].set(value)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _readings(runtime: Runtime, rate_limits: RateLimits) -> list[Reading]:
    def key_age() -> float | None:
        since = runtime.tokens.signing_since
        return None if since is None else (clock.utc_now() - since).total_seconds()

    return [
        Reading(
            "authapi_hash_queue_length",
            "Passwords that wait for a hashing thread.",
            lambda: runtime.hasher.pool.queued,
            "livesum",
        ),
        Reading(
            "authapi_revocation_staleness_seconds",
            "How long ago the revocations were known to be complete; of several workers the worst.",
            lambda: runtime.revocations.staleness,
            "livemax",
        ),
        Reading(
            "authapi_revocations_held",
            "Revocations in memory that still matter.",
            lambda: len(runtime.revocations),
            "livemax",
        ),
        Reading(
            "authapi_tokens_remembered",
            "Access tokens whose signature was checked and is remembered.",
            lambda: runtime.tokens.remembered,
            "livesum",
        ),
        Reading("authapi_signing_key_age_seconds", "Age of the key that signs.", key_age, "livemax"),
        Reading(
            "authapi_rate_limit_storage_down",
            "1 while Redis does not answer and each worker counts alone.",
            lambda: float(rate_limits.is_storage_down),
            "livemax",
        ),
        Reading(
            "authapi_database_pool_in_use",
            "Database connections that requests hold.",
            lambda: runtime.database.connections_in_use,
            "livesum",
        ),
        Reading(
            "authapi_database_pool_size",
            "Database connections that requests may hold.",
            lambda: runtime.database.pool_size,
            "livesum",
        ),
    ]


def _mail(outbox: Outbox | None) -> Iterator[Metric]:
    if outbox is not None:
        yield GaugeMetricFamily(
            "authapi_mail_outbox_pending", "Mails that wait to be sent.", value=outbox.pending
        )
        yield GaugeMetricFamily(
            "authapi_mail_outbox_dead", "Mails that were given up: authapi mail list.", value=outbox.dead
        )


def _read_shared(directory: Path) -> list[Metric]:
    for path in directory.glob("gauge_live*.db"):
        pid = re.search(r"_(\d+)\.db$", path.name)
        if pid is not None and not _is_alive(int(pid[1])):
            # A worker that was killed: what it counted stays, what it held is gone.
            path.unlink(missing_ok=True)
    # A worker that starts at this moment has made its files and not yet filled them.
    files = [str(path) for path in directory.glob("*.db") if _size(path)]
    metrics: list[Metric] = list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]  # untyped there
    return metrics


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
