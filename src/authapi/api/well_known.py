"""What services and OAuth2 clients look up by themselves: public keys (RFC 7517), metadata (RFC 8414)."""

from fastapi import APIRouter, Request, Response

from authapi import errors
from authapi.api.dependencies import RuntimeDep
from authapi.api.route import ApiRoute
from authapi.enums import Permission
from authapi.rate_limit import limits
from authapi.schemas.envelope import error_responses
from authapi.schemas.well_known import JwksResponse, ServerMetadataResponse
from authapi.security.signing_keys import jwks as public_keys

router = APIRouter(prefix="/.well-known", tags=["tokens"], route_class=ApiRoute)

JWKS_PATH = "/.well-known/jwks.json"
TOKEN_PATH = "/api/auth/token"
INTROSPECTION_PATH = "/api/auth/introspect"
REVOCATION_PATH = "/api/auth/revoke"
CLIENT_AUTHENTICATION = ["client_secret_basic", "client_secret_post"]
# Verifiers keep what they got for at most this long; a new key is published twice as long before it signs.
CACHE_CONTROL = "public, max-age=300"


# HEAD is a route of its own, outside the document: two methods on one would share an operationId.
@router.head("/jwks.json", include_in_schema=False, response_model_exclude_none=True)
@router.get(
    "/jwks.json",
    summary="Public keys that verify access tokens",
    response_model_exclude_none=True,
    responses=error_responses(errors.TooManyRequests),
)
@limits.public
async def jwks(request: Request, response: Response, runtime: RuntimeDep) -> JwksResponse:
    """Publish the key that signs, the one that will sign next and those whose tokens have not all expired.

    Pick the key by the token's `kid`, and fetch again, at most every few seconds, for one that you do not know.
    Under HS256 there is none: a shared secret is never published.
    """
    response.headers["Cache-Control"] = CACHE_CONTROL
    return JwksResponse.model_validate(public_keys(timed.key for timed in runtime.tokens.keys))


@router.head("/oauth-authorization-server", include_in_schema=False, response_model_exclude_none=True)
@router.get(
    "/oauth-authorization-server",
    summary="OAuth2 server metadata",
    response_model_exclude_none=True,
    responses=error_responses(errors.TooManyRequests),
)
@limits.public
async def server_metadata(
    request: Request, response: Response, runtime: RuntimeDep
) -> ServerMetadataResponse:
    """Tell OAuth2 clients where the endpoints are and what they support (RFC 8414)."""
    response.headers["Cache-Control"] = CACHE_CONTROL
    base_url = runtime.settings.base_url
    return ServerMetadataResponse(
        issuer=runtime.tokens.issuer,
        jwks_uri=f"{base_url}{JWKS_PATH}",
        token_endpoint=f"{base_url}{TOKEN_PATH}",
        introspection_endpoint=f"{base_url}{INTROSPECTION_PATH}",
        revocation_endpoint=f"{base_url}{REVOCATION_PATH}",
        grant_types_supported=["password", "refresh_token", "client_credentials"],
        response_types_supported=[],
        scopes_supported=[permission.value for permission in Permission],
        token_endpoint_auth_methods_supported=["none", *CLIENT_AUTHENTICATION],
        introspection_endpoint_auth_methods_supported=CLIENT_AUTHENTICATION,
        revocation_endpoint_auth_methods_supported=CLIENT_AUTHENTICATION,
    )
