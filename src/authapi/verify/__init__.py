"""For services behind authapi: check access tokens offline, and hear of revocations within a second.

    verifier = Verifier(issuer="https://auth.example.com", client_id="…", client_secret="…")
    app = FastAPI(lifespan=verifier.lifespan)

    @app.get("/orders", dependencies=[Depends(require_scope("orders:read"))])
    async def list_orders(claims: CurrentClaims) -> list[Order]: ...

Nothing here imports the server. Without an app: `async with verifier:`, then `await verifier.verify(token)`.
"""

from authapi.security.access_tokens import AccessTokenClaims, InvalidAccessToken
from authapi.verify.dependencies import CurrentClaims, current_claims, require_scope
from authapi.verify.errors import VerificationUnavailable
from authapi.verify.verifier import Verifier

__all__ = [
    "AccessTokenClaims",
    "CurrentClaims",
    "InvalidAccessToken",
    "VerificationUnavailable",
    "Verifier",
    "current_claims",
    "require_scope",
]
