"""The one slowapi Limiter, the named limits, and the check that runs before a request costs anything.

A route declares its limit with slowapi's decorator, by name, because the numbers belong to an app's settings
and several apps may live in one process:

    router = APIRouter(route_class=LimitedRoute)

    @router.post("/login")
    @limits.auth
    async def login(request: Request, ...): ...

slowapi by itself checks inside the endpoint, when the body is parsed and all dependencies have run, and does
so synchronously. `LimitedRoute` spends the declared limit first, asynchronously, and marks the request as
checked, which slowapi's wrapper honours. Requests are counted per endpoint, limit and client.
"""

import math
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, get_args

from fastapi import Request, Response
from fastapi.routing import APIRoute
from limits import parse_many
from slowapi import Limiter
from starlette.types import Scope

from authapi.client_address import rate_limit_key
from authapi.clock import utc_now
from authapi.errors import AuthApiError, TooManyRequests
from authapi.rate_limit_storage import FallbackStorage, Spending, create_storage
from authapi.setting_groups import RateLimitSettings

LimitName = Literal["auth", "refresh", "search", "public", "user", "admin", "service"]
LIMIT_NAMES: tuple[LimitName, ...] = get_args(LimitName)
PER_USER: frozenset[LimitName] = frozenset({"user", "admin"})

Identify = Callable[[Request], str | None]
"""Returns the user id of a bearer token that verifies, else None; an AuthApiError counts as None."""

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class LimitDecorator(Protocol):
    def __call__(self, endpoint: Endpoint, /) -> Endpoint: ...


@dataclass(frozen=True, slots=True)
class _Allowance:
    """So many requests in so many seconds; `text` tells it from the others in keys and logs."""

    text: str
    amount: int
    window: int


class RateLimits:
    """One app's limits and what was spent of them; lives in `app.state.rate_limits`, closed at shutdown.

    Raises:
        ValueError: a limit or the storage URL cannot be read: slowapi would leave such a route unlimited.
    """

    def __init__(
        self,
        settings: RateLimitSettings,
        *,
        identify: Identify | None = None,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        self.is_enabled = settings.enabled
        self._allowances = {name: _parse_limit(name, getattr(settings, name)) for name in LIMIT_NAMES}
        self._storage = create_storage(settings.storage_url)
        self._identify = identify
        self._on_refused = on_refused

    async def spend(self, request: Request, *, name: LimitName, endpoint: str) -> None:
        """Count this request and note the result for `rate_limit_headers`.

        Raises:
            TooManyRequests: nothing is left; carries Retry-After and the X-RateLimit headers.
        """
        allowances = self._allowances[name] if self.is_enabled else ()
        if not allowances:
            return
        client = self._client_key(request, name)
        for allowance in allowances:
            key = f"{name}/{endpoint}/{client}/{allowance.text}"
            spending = await self._storage.spend(key, limit=allowance.amount, window=allowance.window)
            _show(request.scope, spending)
            if not spending.is_allowed:
                if self._on_refused is not None:
                    self._on_refused(name)
                raise TooManyRequests(
                    f"limit {name!r} of {allowance.text} is spent for {client}",
                    retry_after=max(1, math.ceil(spending.reset_after)),
                    headers=rate_limit_headers(request.scope),
                )

    def is_limited(self, name: LimitName) -> bool:
        """Whether requests under this limit are counted at all."""
        return self.is_enabled and bool(self._allowances[name])

    @property
    def is_storage_down(self) -> bool:
        """Whether each worker counts alone because Redis does not answer."""
        return isinstance(self._storage, FallbackStorage) and self._storage.is_down

    async def close(self) -> None:
        await self._storage.close()

    def _client_key(self, request: Request, name: LimitName) -> str:
        if name in PER_USER and self._identify is not None:
            try:
                user_id = self._identify(request)
            except AuthApiError:
                user_id = None
            if user_id:
                return f"user:{user_id}"
        # Also for a token that does not verify: invented ones must not make buckets of their own.
        return address_key(request)


class NamedLimiter(Limiter):
    """slowapi's Limiter with one decorator per named limit; `limits` below is the only instance."""

    def __init__(self) -> None:
        super().__init__(
            key_func=address_key,
            key_style="endpoint",
            strategy="moving-window",
            storage_uri="memory://",
            storage_options={},
            # slowapi would read `.env` of the working directory; an empty file leaves it nothing to find.
            config_filename=str(Path(__file__).with_name("py.typed")),
        )
        self.auth = self._named("auth")
        self.refresh = self._named("refresh")
        self.search = self._named("search")
        self.public = self._named("public")
        self.user = self._named("user")
        self.admin = self._named("admin")
        self.service = self._named("service")

    def get_app_config(self, key: str, default_value: Any = None) -> Any:
        """Ignore the RATELIMIT_* environment variables: the limits come from the settings alone."""
        return default_value

    async def spend(self, request: Request, *, name: LimitName) -> None:
        """Spend a limit from inside a handler: a plain Starlette route, or one whose body decides the limit.

        Raises:
            TooManyRequests: nothing is left.
        """
        endpoint = _endpoint_id(request.scope["endpoint"])
        await _rate_limits(request).spend(request, name=name, endpoint=endpoint)

    def limit_name(self, endpoint: Callable[..., Any] | None) -> LimitName | None:
        """Return the limit that an endpoint declares, or None."""
        name: LimitName | None = getattr(endpoint, "rate_limit_name", None)
        return name

    def _named(self, name: LimitName) -> LimitDecorator:
        def declare(endpoint: Endpoint) -> Endpoint:
            if self.limit_name(endpoint) is not None:
                raise TypeError(f"{_endpoint_id(endpoint)} declares two limits; the inner one is ignored")
            with warnings.catch_warnings():
                # Python 3.14 deprecates asyncio.iscoroutinefunction, which slowapi 0.1.10 calls here.
                warnings.filterwarnings("ignore", ".*iscoroutinefunction", DeprecationWarning)
                limited: Endpoint = self.limit(lambda: name)(endpoint)
            limited.rate_limit_name = name  # type: ignore[attr-defined]
            return limited

        return declare

    def _check_request_limit(self, request: Request, endpoint_func: Any, in_middleware: bool = True) -> None:
        # slowapi comes here only if nothing was spent before the body was read.
        raise RuntimeError(
            f"{_endpoint_id(endpoint_func)} is limited: its router needs route_class=LimitedRoute"
        )


class LimitedRoute(APIRoute):
    """A route whose declared limit is spent before body parsing, dependencies and hashing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        name = limits.limit_name(self.endpoint)
        if name is None:
            return handler
        endpoint = _endpoint_id(self.endpoint)

        async def limited_handler(request: Request) -> Response:
            # What slowapi's wrapper looks for: checked already, and no headers of its own.
            state = request.scope.setdefault("state", {})
            state["_rate_limiting_complete"] = True
            state["view_rate_limit"] = None
            await _rate_limits(request).spend(request, name=name, endpoint=endpoint)
            response = await handler(request)
            # On the raw list: `headers.update` walks through all of them for each.
            response.raw_headers += rate_limit_header_lines(request.scope)
            return response

        return limited_handler


def rate_limit_headers(scope: Scope) -> dict[str, str]:
    """Return the X-RateLimit headers for the answer to this request, error or not; none if nothing was spent.

    They also stand in `request.state.rate_limit_headers`. `X-RateLimit-Reset` is the Unix time, in whole
    seconds, at which the oldest counted request is forgotten.
    """
    headers: dict[str, str] = scope.get("state", {}).get("rate_limit_headers", {})
    return headers


def rate_limit_header_lines(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the same headers as a server takes them."""
    return [(name.lower().encode(), value.encode()) for name, value in rate_limit_headers(scope).items()]


def address_key(request: Request) -> str:
    """Return what a request is counted by: the address that ClientAddressMiddleware found, IPv6 by /64."""
    return rate_limit_key(request.client.host if request.client else "")


def _show(scope: Scope, spending: Spending) -> None:
    """Keep the headers for the answer; of several limits they show the one that is exhausted first."""
    state = scope.setdefault("state", {})
    shown: Spending | None = state.get("rate_limit")
    if shown is not None and shown.remaining < spending.remaining:
        return
    state["rate_limit"] = spending
    state["rate_limit_headers"] = {
        "X-RateLimit-Limit": str(spending.limit),
        "X-RateLimit-Remaining": str(spending.remaining),
        "X-RateLimit-Reset": str(math.ceil(utc_now().timestamp() + spending.reset_after)),
    }


def _rate_limits(request: Request) -> RateLimits:
    rate_limits: RateLimits = request.app.state.rate_limits
    return rate_limits


def _endpoint_id(endpoint: Any) -> str:
    """Name an endpoint the same on every worker and for every path that leads to it."""
    return f"{endpoint.__module__}.{endpoint.__qualname__}"


def _parse_limit(name: str, text: str) -> tuple[_Allowance, ...]:
    if not text.strip():
        return ()
    try:
        items = tuple(parse_many(text))
    except ValueError:
        items = ()
    if not items or any(item.amount < 1 for item in items):
        raise ValueError(
            f"AUTHAPI_RATE_LIMIT__{name.upper()}: {text!r} is no limit such as 5/minute or 5/minute;50/hour"
        )
    return tuple(_Allowance(str(item), item.amount, item.get_expiry()) for item in items)


limits = NamedLimiter()
