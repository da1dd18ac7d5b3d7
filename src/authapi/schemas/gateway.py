"""The claims as `POST /validate` shows them."""

from pydantic import ConfigDict, Field

from authapi.schemas.envelope import ResponseModel


class ValidatedClaims(ResponseModel):
    """What a valid access token says; the token of a service client has none of the claims of a user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "username": "ada@example.com",
                    "admin": False,
                    "iss": "https://auth.example.com",
                    "aud": "authapi",
                    "sub": "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f",
                    "client_id": "authapi",
                    "iat": 1794000000,
                    "exp": 1794003600,
                    "jti": "5tV2mM0hAPlRLyLtYrQEpg",
                    "scope": "orders:read",
                    "sid": "01981d5a-6c11-7d0a-8f2c-0f7a9b1e8a54",
                    "user_id": "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f",
                    "email": "ada@example.com",
                    "role": "user",
                    "roles": ["user"],
                    "amr": ["pwd"],
                    "auth_time": 1794000000,
                }
            ]
        }
    )

    username: str | None = Field(description="The e-mail; null for a service client.")
    admin: bool = Field(description="Whether one of the roles is `admin`.")
    iss: str
    aud: str
    sub: str
    client_id: str
    iat: int = Field(description="Seconds since 1970.")
    exp: int = Field(description="Seconds since 1970.")
    jti: str
    scope: str = Field(description="What the token may do, separated by spaces.")
    sid: str | None = None
    user_id: str | None = None
    email: str | None = None
    role: str | None = Field(None, description="The strongest of the roles.")
    roles: list[str] | None = None
    amr: list[str] | None = None
    auth_time: int | None = None
