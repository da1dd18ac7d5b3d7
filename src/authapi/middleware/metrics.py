"""Counts and times every request."""

import time

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authapi.metrics import Metrics
from authapi.middleware.request_context import route_template
from authapi.request_context import HAS_LEFT, stays

# A method is any word a client likes; those that no route has share one label.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class MetricsMiddleware:
    """Observe each request once it is answered, by method, route template and class of status.

    Belongs outside of whatever answers by itself. The template is used because the raw path would make a
    series of each address that a scanner tries.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics
        # Looking up the series of labels costs more than adding to it.
        self._series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = "none"

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start" and not has_left():
                status = f"{message['status'] // 100}xx"
            await send(message)

        has_left = scope.get(HAS_LEFT, stays)
        started = time.perf_counter()
        self._metrics.requests_in_progress.inc()
        try:
            await self.app(scope, receive, noting_send)
        finally:
            self._metrics.requests_in_progress.dec()
            method = scope["method"] if scope["method"] in _METHODS else "other"
            requests, seconds = self._series_of(method, route_template(scope), status)
            requests.inc()
            seconds.observe(time.perf_counter() - started)

    def _series_of(self, method: str, route: str, status: str) -> tuple[Counter, Histogram]:
        key = (method, route, status)
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = (
                self._metrics.requests.labels(*key),
                self._metrics.request_seconds.labels(method, route),
            )
        return found
