"""Forms and bodies of the OAuth2 endpoints; bare, because RFCs fix them."""

from collections import defaultdict
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from authapi.emails import MAX_EMAIL_CHARACTERS
from authapi.errors import AuthApiError, PayloadTooLarge, UriTooLong
from authapi.schemas.envelope import ResponseModel, error_responses

# Four times the longest of ours: a token of somebody else has an answer of its own.
MAX_TOKEN_CHARACTERS = 16_384
_ACCESS_TOKEN = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6…"


class ClientForm(BaseModel):
    """A form by which a client can also authenticate (RFC 6749 section 2.3.1).

    Unknown parameters are ignored, and those without a value count as left out, as its section 3.2 wants.
    """

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    client_id: str = Field("", max_length=200, description="Only without HTTP Basic.")
    client_secret: SecretStr | None = Field(None, max_length=1024, description="Only without HTTP Basic.")


class TokenForm(ClientForm):
    """The form of RFC 6749 sections 4.3, 4.4 and 6."""

    grant_type: str = Field(
        "",
        max_length=100,
        description="`password`, `refresh_token` or `client_credentials`.",
        examples=["password", "refresh_token", "client_credentials"],
    )
    username: str = Field(
        "", max_length=MAX_EMAIL_CHARACTERS, description="The e-mail.", examples=["ada@example.com"]
    )
    password: SecretStr | None = Field(None, max_length=1024, examples=["correct Horse 7 battery"])
    scope: str = Field(
        "", max_length=2000, description="Permissions, separated by spaces.", examples=["users:read"]
    )
    refresh_token: str = Field("", max_length=200)


class IntrospectionForm(ClientForm):
    """The form of RFC 7662 section 2.1."""

    token: str = Field(min_length=1, max_length=MAX_TOKEN_CHARACTERS, examples=[_ACCESS_TOKEN])
    token_type_hint: str = Field("", max_length=100, description="Not needed.", examples=["access_token"])


class RevocationForm(ClientForm):
    """The form of RFC 7009 section 2.1."""

    token: str = Field(
        min_length=1, max_length=MAX_TOKEN_CHARACTERS, examples=["authapi_rt_AQGh_UgszwgfcYexaf5aWWG3…"]
    )
    token_type_hint: str = Field("", max_length=100, description="Not needed.", examples=["refresh_token"])


class TokenResponse(ResponseModel):
    """The body of RFC 6749 section 5.1."""

    access_token: str = Field(examples=[_ACCESS_TOKEN])
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds until the access token expires.", examples=[3600])
    scope: str = Field(description="What was granted, which may be less than was asked for.")
    refresh_token: str | None = Field(None, description="Not for a client's own token.")


class IntrospectionResponse(ResponseModel):
    """The body of RFC 7662 section 2.2; of an inactive token it says nothing but that.

    That of a refresh token has no `scope`, `aud` or roles: a service that checks any of them cannot take it
    for an access token.
    """

    active: bool
    scope: str | None = Field(None, examples=["users:read"])
    client_id: str | None = Field(None, description="Who got the token; `authapi` itself for its own logins.")
    username: str | None = Field(None, description="The e-mail.", examples=["ada@example.com"])
    token_type: Literal["Bearer"] | None = None
    exp: int | None = None
    iat: int | None = None
    sub: str | None = None
    aud: str | None = None
    iss: str | None = None
    jti: str | None = None
    sid: str | None = Field(None, description="The session; a service client's own token has none.")
    role: str | None = Field(None, description="The strongest of the user's roles.")
    roles: list[str] | None = None
    amr: list[str] | None = Field(None, description="How the user proved their identity (RFC 8176).")
    auth_time: int | None = None


class OAuth2ErrorResponse(ResponseModel):
    """The body of RFC 6749 section 5.2."""

    error: str
    error_description: str
    mfa_token: str | None = Field(
        None, description="Only with `mfa_required`: complete the login with POST /api/auth/login/mfa."
    )
    factors: list[str] | None = Field(None, description="Only with `mfa_required`.")


def oauth2_status(oauth2_error: str, status_code: int) -> int:
    """The status of an error on these routes: 401 is for clients alone (RFC 6749 section 5.2)."""
    is_client = oauth2_error == "invalid_client"
    return status_code if is_client or status_code not in {401, 403, 422} else 400


def oauth2_error_responses(*errors: type[AuthApiError]) -> dict[int | str, dict[str, Any]]:
    """Builds FastAPI's `responses=`: one entry per status, one example per error.

    What is refused before the route is reached, and 422 with it, comes in the envelope as everywhere.
    """
    by_status: dict[int, list[type[AuthApiError]]] = defaultdict(list)
    for error in errors:
        by_status[oauth2_status(error.oauth2_error, error.status_code)].append(error)
    return {
        **{status: _response(status, by_status[status]) for status in sorted(by_status)},
        **{
            status: response
            for status, response in error_responses(PayloadTooLarge, UriTooLong).items()
            if status in {413, 414}
        },
    }


def _response(status: int, errors: list[type[AuthApiError]]) -> dict[str, Any]:
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(error.oauth2_error for error in errors))
    examples = {
        error.code: {
            "summary": error.message,
            "value": {"error": error.oauth2_error, "error_description": error.message},
        }
        for error in errors
    }
    response: dict[str, Any] = {
        "model": OAuth2ErrorResponse,
        "description": f"{HTTPStatus(status).phrase}: {names}",
        "content": {"application/json": {"examples": examples}},
    }
    header = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}.get(status)
    if header:
        response["headers"] = {header: {"schema": {"type": "string"}}}
    return response
