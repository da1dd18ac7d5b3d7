"""Bodies of the discovery documents; bare, because RFCs fix them."""

from pydantic import Field

from authapi.schemas.envelope import ResponseModel


class PublicKey(ResponseModel):
    """A JSON Web Key (RFC 7517 section 4); `crv`, `x`, `y` of an EC key, `n`, `e` of an RSA key."""

    kty: str = Field(examples=["EC"])
    use: str = Field(examples=["sig"])
    alg: str = Field(examples=["ES256"])
    kid: str = Field(description="The RFC 7638 thumbprint.")
    crv: str | None = Field(None, examples=["P-256"])
    x: str | None = None
    y: str | None = None
    n: str | None = None
    e: str | None = None


class JwksResponse(ResponseModel):
    keys: list[PublicKey]


class ServerMetadataResponse(ResponseModel):
    """Authorization server metadata (RFC 8414 section 2)."""

    issuer: str = Field(examples=["https://auth.example.com"])
    jwks_uri: str
    token_endpoint: str
    introspection_endpoint: str | None = None
    revocation_endpoint: str | None = None
    grant_types_supported: list[str]
    response_types_supported: list[str] = Field(description="Empty: there is no authorization endpoint.")
    scopes_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    introspection_endpoint_auth_methods_supported: list[str] | None = None
    revocation_endpoint_auth_methods_supported: list[str] | None = None
