"""Probes for load balancers and orchestrators; bare bodies."""

import asyncio

import structlog
from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from authapi.api.dependencies import RuntimeDep
from authapi.api.route import ApiRoute
from authapi.migrations import SchemaState, schema_state
from authapi.rate_limit import limits
from authapi.schemas.health import HealthResponse

router = APIRouter(prefix="/health", tags=["operations"], route_class=ApiRoute)
logger = structlog.stdlib.get_logger("authapi.health")

# A probe that hangs is worse than one that says no.
READY_TIMEOUT_SECONDS = 2


# HEAD is a route of its own, outside the document: two methods on one would share an operationId.
@router.head("/live", include_in_schema=False)
@router.get("/live", summary="Is the process alive?")
@limits.service
async def live(request: Request) -> HealthResponse:
    """Answer as long as the event loop turns, whatever the database does."""
    return HealthResponse(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    summary="Can requests be served?",
    responses={503: {"model": HealthResponse, "description": "The database is away or behind."}},
)
@limits.service
async def ready(request: Request, response: Response, runtime: RuntimeDep) -> HealthResponse:
    """Tell whether the database can be reached and its schema is the one of this release or a newer one."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            state = await schema_state(runtime.database)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        logger.warning("health.database_unreachable", error=type(error).__name__)
        state = None
    if state in {SchemaState.CURRENT, SchemaState.AHEAD}:
        return HealthResponse(status="ok")
    response.status_code = 503
    response.headers["Retry-After"] = "1"
    return HealthResponse(status="database_unreachable" if state is None else "schema_behind")
