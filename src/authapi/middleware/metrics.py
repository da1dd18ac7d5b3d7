"""Counts and times every request."""

import time

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Receive, Scope, Send

from authapi.metrics import Metrics
from authapi.middleware.request_context import route_template
from authapi.request_context import STATUS

# A method is any word a client likes; those that no route has share one label.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class MetricsMiddleware:
    """Observe each request once it is answered, by method, route template and class of status.

    Belongs outside of the layer that notes the answer's status, and of whatever answers by itself. The template
    is used because the raw path would make a series of each address that a scanner tries.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics
        # Looking up the series of labels costs more than adding to it.
        self._series: dict[tuple[str, str, int | None], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        self._metrics.requests_in_progress.inc()
        try:
            await self.app(scope, receive, send)
        finally:
            self._metrics.requests_in_progress.dec()
            requests, seconds = self._series_of(scope["method"], route_template(scope), scope.get(STATUS))
            requests.inc()
            seconds.observe(time.perf_counter() - started)

    def _series_of(self, method: str, route: str, status: int | None) -> tuple[Counter, Histogram]:
        key = (method if method in _METHODS else "other", route, status)
        found = self._series.get(key)
        if found is None:
            status_class = "none" if status is None else f"{status // 100}xx"
            found = self._series[key] = (
                self._metrics.requests.labels(*key[:2], status_class),
                self._metrics.request_seconds.labels(*key[:2]),
            )
        return found
