"""Who may enter the administration: from which address, and with which permission."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Security
from fastapi.params import Security as SecurityParameter
from fastapi.security import SecurityScopes

from authapi import errors
from authapi.api.dependencies import (
    STEP_UP_AGE,
    DbSession,
    RuntimeDep,
    get_principal,
    oauth2_scheme,
)
from authapi.api.route import ApiRoute
from authapi.client_address import parse_address
from authapi.enums import Permission
from authapi.principal import Principal
from authapi.services import authorization

# What every route of the administration can answer.
READ_ERRORS = (
    errors.BadRequest,
    errors.NotAuthenticated,
    errors.InvalidAccessToken,
    errors.AddressNotAllowed,
    errors.PermissionDenied,
    errors.InsufficientScope,
    errors.ValidationFailed,
    errors.TooManyRequests,
    errors.DatabaseUnavailable,
    errors.RevocationsUnknown,
)
WRITE_ERRORS = (
    *READ_ERRORS,
    errors.MalformedRequest,
    errors.PayloadTooLarge,
    errors.ReauthenticationRequired,
    errors.SecondFactorRequired,
)


async def require_allowed_address(request: Request, runtime: RuntimeDep) -> None:
    """Let in only clients of the networks that the operator named, if any; raises `AddressNotAllowed`."""
    networks = runtime.settings.admin.allowed_ips
    if not networks:
        return
    address = parse_address(request.client.host if request.client else "")
    if address is None or not any(address in network for network in networks):
        raise errors.AddressNotAllowed(f"from {address}")


def admin_router(path: str = "") -> APIRouter:
    """A router below `/api/admin`.

    The address is checked first: from a network that is not allowed, a thief must not even learn whether a stolen
    token is valid.
    """
    return APIRouter(
        prefix=f"/api/admin{path}",
        tags=["admin"],
        dependencies=[Depends(require_allowed_address)],
        route_class=ApiRoute,
    )


async def get_caller(request: Request, token: Annotated[str | None, Depends(oauth2_scheme)]) -> Principal:
    """The user of the token, whatever its scopes: the guard compares those, and puts a refusal on record."""
    return await get_principal(request, SecurityScopes(), token)


def require(permission: Permission) -> SecurityParameter:
    """A dependency that admits callers who have the permission now and whose token has it as a scope."""

    async def guard(db: DbSession, caller: Annotated[Principal, Depends(get_caller)]) -> Principal:
        await authorization.require_permission(db, caller, permission)
        return caller

    # `scopes` make the API document say which one is needed.
    parameter: SecurityParameter = Security(guard, scopes=[permission.value])
    return parameter


def require_lately(permission: Permission) -> SecurityParameter:
    """The same for writing: the login must be of the last quarter of an hour, with a second factor if any."""

    async def guard(db: DbSession, caller: Annotated[Principal, Depends(get_caller)]) -> Principal:
        await authorization.require_permission(db, caller, permission)
        await authorization.require_fresh(db, caller, max_age=STEP_UP_AGE)
        return caller

    parameter: SecurityParameter = Security(guard, scopes=[permission.value])
    return parameter


RequireUsersRead = Annotated[Principal, require(Permission.USERS_READ)]
RequireUsersWrite = Annotated[Principal, require_lately(Permission.USERS_WRITE)]
RequireRolesRead = Annotated[Principal, require(Permission.ROLES_READ)]
RequireRolesWrite = Annotated[Principal, require_lately(Permission.ROLES_WRITE)]
RequireAuditRead = Annotated[Principal, require(Permission.AUDIT_READ)]
RequireStatsRead = Annotated[Principal, require(Permission.STATS_READ)]
