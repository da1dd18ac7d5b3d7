"""The route class of every JSON route: refused unread in a flood, then limited, then read strictly."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute

from authapi.rate_limit import LimitedRoute
from authapi.runtime import Runtime
from authapi.strict_json import StrictJsonRoute

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def hashes_password(endpoint: Endpoint) -> Endpoint:
    """Have an endpoint's requests refused unread while there is no place for them in the hashing queue.

    Refusing unread costs a third of refusing later, so during a flood the rest are still served. The place itself
    is taken later; a client that is slow to send its body must not hold one.
    """
    endpoint.hashes_password = True  # type: ignore[attr-defined]  # the mark that HashingRoute looks for
    return endpoint


class HashingRoute(APIRoute):
    """Looks for a place before the body is read, where the endpoint says `hashes_password`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if not getattr(self.endpoint, "hashes_password", False):
            return handle

        async def handle_unless_full(request: Request) -> Response:
            runtime: Runtime = request.app.state.runtime
            runtime.hasher.expect_place()
            return await handle(request)

        return handle_unless_full


class ApiRoute(HashingRoute, LimitedRoute, StrictJsonRoute):
    """Checks in the order of its bases, from left to right.

    Order matters: a request refused because the hashing queue is full must not use up the rate limit.
    """


def add_routes(app: FastAPI, *routers: APIRouter) -> None:
    """Give an app the very routes of routers that stand on their own.

    `include_router` is for routers that get a prefix or dependencies of their surroundings: it builds each of
    their routes a second time, at the first request, and looks for a match twice.
    """
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                # The operationId; FastAPI's own would hold the path as well.
                route.unique_id = route.name
        app.router.routes.extend(router.routes)
