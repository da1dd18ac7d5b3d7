"""Statistics."""

from fastapi import Request

from authapi.api.admin.guards import READ_ERRORS, RequireStatsRead, admin_router
from authapi.api.dependencies import DbSession
from authapi.rate_limit import limits
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.schemas.stats import StatsResponse
from authapi.services import statistics

router = admin_router("/stats")


@router.get("", summary="Read statistics", responses=error_responses(*READ_ERRORS))
@limits.admin
async def read_stats(request: Request, db: DbSession, caller: RequireStatsRead) -> ApiResponse[StatsResponse]:
    """Count users, registrations and logins as of now."""
    numbers = await statistics.read_statistics(db, caller)
    return ApiResponse(message="These are the numbers.", data=StatsResponse.model_validate(numbers))
