"""What routes ask for by type: the database session, the runtime, the caller, and the caller's rights."""

from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.enums import BuiltInRole, Permission
from authapi.principal import Principal
from authapi.runtime import Runtime
from authapi.services import authorization
from authapi.token_authority import VerifiedToken

# Where a request keeps its token once it is verified.
_VERIFIED = "authapi.verified_token"

oauth2_scheme = OAuth2PasswordBearer(
    tokenUrl="/api/auth/token",
    scopes={permission.value: permission.description for permission in Permission},
    description="E-mail and password. Leave client id and secret empty.",
    # Missing credentials are answered in the envelope, by get_principal.
    auto_error=False,
)


async def get_runtime(request: Request) -> Runtime:
    """The tools of this process; asynchronous, because FastAPI would send a plain function to a thread."""
    runtime: Runtime = request.app.state.runtime
    return runtime


# Changing what protects an account, and acting on others, needs a login of the last quarter of an hour.
STEP_UP_AGE = timedelta(minutes=15)

RuntimeDep = Annotated[Runtime, Depends(get_runtime)]


async def get_db(request: Request) -> AsyncIterator[AsyncSession]:
    """One unit of work; its commit happens before the response leaves (`scope="function"` below)."""
    # The runtime is no dependency here: FastAPI would solve it once more.
    runtime: Runtime = request.app.state.runtime
    async with runtime.database.unit_of_work(bounded=True) as db:
        yield db


# With FastAPI's default scope the commit would run after the response: a failed one would have answered 200.
DbSession = Annotated[AsyncSession, Depends(get_db, scope="function")]


def verified_token(request: Request, token: str) -> VerifiedToken:
    """The request's bearer token, checked once however many ask: the limit per user, and the route.

    Raises `InvalidAccessToken`, `RevocationsUnknown`.
    """
    verified = find_verified(request)
    if verified is None:
        # The runtime is no dependency here: solving one takes FastAPI longer than checking a known token.
        runtime: Runtime = request.app.state.runtime
        verified = runtime.tokens.verify(token)
        remember_verified(request, verified)
    return verified


def find_verified(request: Request) -> VerifiedToken | None:
    """What `remember_verified` has kept."""
    verified: VerifiedToken | None = request.scope.get(_VERIFIED)
    return verified


def remember_verified(request: Request, verified: VerifiedToken) -> None:
    """Keep what the request's token says, so that `verified_token` need not check it again."""
    request.scope[_VERIFIED] = verified


async def get_principal(
    request: Request,
    security_scopes: SecurityScopes,
    token: Annotated[str | None, Depends(oauth2_scheme)],
) -> Principal:
    """The user that the bearer token speaks for, from the token alone.

    Raises `NotAuthenticated`, `InvalidAccessToken`, `InsufficientScope` (RFC 6750 section 3.1).
    """
    if token is None:
        raise errors.NotAuthenticated
    principal = verified_token(request, token).principal
    if principal is None:
        raise errors.InvalidAccessToken("not_a_users_token")
    if not principal.scopes.issuperset(security_scopes.scopes):
        raise errors.InsufficientScope(f"needs {security_scopes.scope_str}")
    return principal


CurrentPrincipal = Annotated[Principal, Depends(get_principal)]


async def get_optional_principal(
    runtime: RuntimeDep, token: Annotated[str | None, Depends(oauth2_scheme)]
) -> Principal | None:
    """The user of a valid bearer token, or None: for routes that know another proof as well."""
    if token is None:
        return None
    try:
        return runtime.tokens.verify(token).principal
    except errors.InvalidAccessToken:
        return None


OptionalPrincipal = Annotated[Principal | None, Depends(get_optional_principal)]

Guard = Callable[..., Coroutine[Any, Any, Principal]]


def require_role(*names: str) -> Guard:
    """A dependency that lets in users who have one of these roles now, whatever their token says.

    What a role allows by itself is for administrators: it needs a recent login as well.
    """

    async def guard(db: DbSession, principal: CurrentPrincipal) -> Principal:
        await authorization.require_role(db, principal, *names)
        await authorization.require_fresh(db, principal, max_age=STEP_UP_AGE)
        return principal

    return guard


def require_fresh(max_age: timedelta) -> Guard:
    """A dependency that asks for a recent login, and for the second factor of those who have one."""

    async def guard(db: DbSession, principal: CurrentPrincipal) -> Principal:
        await authorization.require_fresh(db, principal, max_age=max_age)
        return principal

    return guard


FreshPrincipal = Annotated[Principal, Depends(require_fresh(STEP_UP_AGE))]
RequireAdmin = Annotated[Principal, Depends(require_role(BuiltInRole.ADMIN))]
