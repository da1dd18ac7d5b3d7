"""Tells the observer how logins and refreshes ended, whichever way they leave their use case."""

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors
from authapi.database import after_commit
from authapi.observer import LoginOutcome, RefreshOutcome
from authapi.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")
UseCase = Callable[Concatenate[AsyncSession, Runtime, P], Coroutine[Any, Any, T]]

# Any other error, such as a database that is away, says nothing about the credential.
_REFUSED_LOGINS: dict[type[errors.AuthApiError], LoginOutcome] = {
    errors.TooManyAttempts: "throttled",
    errors.MfaRequired: "mfa_required",
    errors.AccountDisabled: "disabled",
    errors.InvalidCredentials: "failure",
    errors.EmailNotVerified: "failure",
    errors.InvalidCode: "failure",
    errors.InvalidMfaToken: "failure",
}
_REFUSED_REFRESHES: dict[type[errors.AuthApiError], RefreshOutcome] = {
    errors.RefreshTokenReused: "reused",
    errors.InvalidRefreshToken: "refused",
    errors.InvalidScope: "refused",
}


def reports_login(log_in: UseCase[P, T]) -> UseCase[P, T]:
    """Report what came of a step of a login; a success only once it is committed."""

    @wraps(log_in)
    async def reporting(db: AsyncSession, runtime: Runtime, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            result = await log_in(db, runtime, *args, **kwargs)
        except errors.AuthApiError as error:
            if outcome := _REFUSED_LOGINS.get(type(error)):
                runtime.observer.login(outcome)
            raise
        after_commit(db, partial(runtime.observer.login, "success"))
        return result

    return reporting


def reports_refusal(
    refresh: Callable[Concatenate[Runtime, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Runtime, P], Coroutine[Any, Any, T]]:
    """Report a refused refresh; which kind of success it was, only the use case knows."""

    @wraps(refresh)
    async def reporting(runtime: Runtime, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await refresh(runtime, *args, **kwargs)
        except errors.AuthApiError as error:
            if outcome := _REFUSED_REFRESHES.get(type(error)):
                runtime.observer.refresh(outcome)
            raise

    return reporting
