"""What anybody may ask."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from authapi import errors
from authapi.api.dependencies import DbSession
from authapi.api.route import ApiRoute
from authapi.rate_limit import limits
from authapi.schemas.envelope import Page, PagedResponse, error_responses
from authapi.schemas.public import PublicSearchQuery, PublicUserResponse
from authapi.services import public_search

router = APIRouter(prefix="/api/public", tags=["public"], route_class=ApiRoute)


@router.get(
    "/search",
    summary="Find users",
    responses=error_responses(
        errors.ValidationFailed,
        errors.InvalidCursor,
        errors.TooManyRequests,
        errors.DatabaseUnavailable,
    ),
)
@limits.search
async def search_users(
    request: Request, query: Annotated[PublicSearchQuery, Query()], db: DbSession
) -> PagedResponse[PublicUserResponse]:
    """Find users by name who chose to be discoverable; nobody else is ever shown."""
    found = await public_search.search(db, text=query.q, cursor=query.cursor, limit=query.limit)
    return PagedResponse(
        message="These users chose to be found.",
        data=[PublicUserResponse.model_validate(user) for user in found.items],
        page=Page(next_cursor=found.next_cursor, limit=query.limit),
    )
