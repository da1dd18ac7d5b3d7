"""The verifier as FastAPI dependencies: `Depends(require_scope("orders:read"))`."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from authapi.security.access_tokens import AccessTokenClaims, InvalidAccessToken
from authapi.verify.errors import VerificationUnavailable
from authapi.verify.verifier import STATE_NAME, Verifier

Guard = Callable[..., Coroutine[Any, Any, AccessTokenClaims]]

_bearer = HTTPBearer(
    bearerFormat="JWT", scheme_name="authapi", description="An access token of authapi.", auto_error=False
)


def claims_dependency(find_verifier: Callable[[Request], Verifier]) -> Guard:
    """A dependency that returns the claims of the bearer token, or answers 401 or 503 (RFC 6750)."""

    async def verified_claims(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> AccessTokenClaims:
        if credentials is None:
            raise _unauthenticated("Send 'Authorization: Bearer <token>'.", "Bearer")
        try:
            return await find_verifier(request).verify(credentials.credentials)
        except InvalidAccessToken:
            detail = "The access token is invalid, expired or revoked."
            raise _unauthenticated(detail, 'Bearer error="invalid_token"') from None
        except VerificationUnavailable:
            detail = "The access token cannot be checked right now."
            raise HTTPException(503, detail, headers={"Retry-After": "1"}) from None

    return verified_claims


def scope_dependency(claims: Guard, scopes: Sequence[str]) -> Guard:
    """A dependency on top of `claims` that answers 403 unless the token has all of `scopes`."""
    wanted = " ".join(scopes).split()
    if not wanted:
        raise ValueError("require_scope takes at least one scope")

    async def claims_with_scope(
        claims: Annotated[AccessTokenClaims, Depends(claims)],
    ) -> AccessTokenClaims:
        if not claims.scopes.issuperset(wanted):
            challenge = f'Bearer error="insufficient_scope", scope="{" ".join(wanted)}"'
            detail = "The access token was not issued for this."
            raise HTTPException(403, detail, headers={"WWW-Authenticate": challenge})
        return claims

    return claims_with_scope


def require_scope(*scopes: str) -> Guard:
    """A dependency that lets in tokens with all of these scopes, checked by the app's own verifier."""
    return scope_dependency(current_claims, scopes)


def _app_verifier(request: Request) -> Verifier:
    verifier: Verifier | None = getattr(request.app.state, STATE_NAME, None)
    if verifier is None:
        raise RuntimeError("this app has no verifier: FastAPI(lifespan=verifier.lifespan)")
    return verifier


def _unauthenticated(detail: str, challenge: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": challenge})


current_claims = claims_dependency(_app_verifier)
CurrentClaims = Annotated[AccessTokenClaims, Depends(current_claims)]
