"""Statistics."""

from fastapi import APIRouter, Request

from authapi.api.admin.guards import READ_ERRORS, RequireStatsRead
from authapi.api.dependencies import DbSession
from authapi.api.route import ApiRoute
from authapi.rate_limit import limits
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.schemas.stats import StatsResponse
from authapi.services import statistics

router = APIRouter(prefix="/stats", route_class=ApiRoute)


@router.get("", summary="Read statistics", responses=error_responses(*READ_ERRORS))
@limits.admin
async def read_stats(request: Request, db: DbSession, caller: RequireStatsRead) -> ApiResponse[StatsResponse]:
    """Count users, registrations and logins as of now."""
    numbers = await statistics.read_statistics(db, caller)
    return ApiResponse(message="These are the numbers.", data=StatsResponse.model_validate(numbers))
