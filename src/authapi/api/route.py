"""The route class of every JSON route: the limit is spent first, then the body is read strictly."""

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from authapi.rate_limit import LimitedRoute
from authapi.strict_json import StrictJsonRoute


class ApiRoute(LimitedRoute, StrictJsonRoute):
    """Base classes on the left act first."""


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
