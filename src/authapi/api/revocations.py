"""The revocation feed, for services that verify access tokens by themselves."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from authapi import errors
from authapi.api.client_authentication import PresentedCredentials, authenticate
from authapi.api.dependencies import RuntimeDep, oauth2_scheme
from authapi.api.route import ApiRoute
from authapi.enums import Permission
from authapi.models import Revoked
from authapi.rate_limit import limits
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.schemas.revocations import RevocationsQuery, RevocationsResponse, RevokedSession, RevokedSubject
from authapi.services import revocation_feed

router = APIRouter(prefix="/api/auth", tags=["tokens"], route_class=ApiRoute)


async def require_feed_reader(
    request: Request,
    runtime: RuntimeDep,
    credentials: PresentedCredentials,
    token: Annotated[str | None, Depends(oauth2_scheme)],
) -> None:
    """Let in service clients by their secret, and users and clients by a token with the scope.

    Raises `InvalidClient`, `NotAuthenticated`, `InvalidAccessToken`, `InsufficientScope`.
    """
    if credentials is not None:
        # Not the request's own transaction: that one would stay open for as long as the request waits.
        async with runtime.database.unit_of_work(bounded=True) as db:
            await authenticate(request, db, credentials)
        return
    if token is None:
        raise errors.NotAuthenticated
    if Permission.REVOCATIONS_READ not in runtime.tokens.verify(token).claims.scopes:
        raise errors.InsufficientScope("needs revocations:read")


@router.get(
    "/revocations",
    summary="Follow the revocations",
    response_model=ApiResponse[RevocationsResponse],
    dependencies=[Depends(require_feed_reader)],
    responses={
        304: {"description": "Nothing new; go on with the same cursor."},
        **error_responses(
            errors.BadRequest,
            errors.NotAuthenticated,
            errors.InvalidAccessToken,
            errors.InvalidClient,
            errors.InsufficientScope,
            errors.ValidationFailed,
            errors.InvalidCursor,
            errors.TooManyRequests,
            errors.DatabaseUnavailable,
            errors.RevocationsUnknown,
        ),
    },
)
@limits.service
async def list_revocations(
    request: Request, response: Response, query: Annotated[RevocationsQuery, Query()], runtime: RuntimeDep
) -> ApiResponse[RevocationsResponse] | Response:
    """List the sessions and users whose access tokens are void although they have not expired.

    Ask without `since` first, then each time with the `cursor` of the last answer, its ETag in
    `If-None-Match`, and `wait` to be told at once. No revocation is missed, however late its transaction
    commits; some come twice.
    """
    page = await revocation_feed.read_feed(
        runtime, cursor=query.since, known=_known_tags(request), wait=query.wait
    )
    # Weak: the cursor moves on although nothing has happened.
    etag = f'W/"{page.fingerprint}"'
    if page.fingerprint in _known_tags(request):
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return ApiResponse(
        message="These tokens are void.",
        data=RevocationsResponse(revocations=[_entry(row) for row in page.revocations], cursor=page.cursor),
    )


def _known_tags(request: Request) -> set[str]:
    tags = request.headers.get("If-None-Match", "").split(",")
    return {tag.strip().removeprefix("W/").strip('"') for tag in tags}


def _entry(row: Revoked) -> RevokedSession | RevokedSubject:
    if row.user_session_id is not None:
        return RevokedSession(session_id=row.user_session_id, expires_at=row.expires_at)
    return RevokedSubject(subject=row.subject, not_before=row.not_before, expires_at=row.expires_at)
