"""How service clients prove who they are: by HTTP Basic, or id and secret in the form (RFC 6749)."""

import base64
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBase
from fastapi.security.base import SecurityBase

from authapi import errors
from authapi.api.dependencies import DbSession
from authapi.models import ServiceClient
from authapi.rate_limit import limits
from authapi.services import service_clients
from authapi.token_authority import FIRST_PARTY_CLIENT_ID


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What a client has presented; nothing of it is checked."""

    client_id: str
    client_secret: str = field(repr=False)


_EMPTY = ClientCredentials("", "")
# Swagger UI sends an empty pair. Libraries that need an id, for clients without a secret, may say "authapi".
_NONE = {_EMPTY, ClientCredentials(FIRST_PARTY_CLIENT_ID, "")}


class ClientAuthentication(SecurityBase):
    """Reads the credentials of a request; None where it has none, or only says that it has none.

    Raises `InvalidOAuth2Request` for a request that uses both ways (RFC 6749 section 2.3), and
    `MalformedRequest` for a body that is no form.
    """

    def __init__(self) -> None:
        self.model = HTTPBase(
            scheme="basic",
            description="A service client's id and secret, made by `authapi clients create`. "
            "They may also stand in the form, as `client_id` and `client_secret`.",
        )
        self.scheme_name = "ServiceClient"

    async def __call__(self, request: Request) -> ClientCredentials | None:
        basic = _read_basic(request)
        form = await _read_form(request) if request.method == "POST" else _EMPTY
        if basic in _NONE:
            return None if form in _NONE else form
        # An id alone proves nothing, so a client that repeats its own does not use a second method.
        if form.client_secret or form.client_id not in {"", basic.client_id}:
            raise errors.InvalidOAuth2Request("credentials both as Basic and in the form")
        return basic


client_authentication = ClientAuthentication()
PresentedCredentials = Annotated[ClientCredentials | None, Depends(client_authentication)]


async def authenticate(request: Request, db: DbSession, credentials: ClientCredentials) -> ServiceClient:
    """The client of these credentials; raises `InvalidClient`, or `TooManyRequests` after many failures.

    Only failures are limited, so a client with the right secret is never refused for them. A secret of 256 bits
    cannot be guessed, but each failure adds a row to the audit trail; beyond the limit `public` none is added.
    """
    try:
        return await service_clients.authenticate(
            db, client_id=credentials.client_id, client_secret=credentials.client_secret
        )
    except errors.InvalidClient:
        await limits.spend(request, name="public")
        raise


async def require_client(request: Request, db: DbSession, credentials: PresentedCredentials) -> ServiceClient:
    """The authenticated service client; raises as `authenticate`, and `InvalidClient` without credentials."""
    if credentials is None:
        raise errors.InvalidClient("no client authentication")
    return await authenticate(request, db, credentials)


RequireClient = Annotated[ServiceClient, Depends(require_client)]


def _read_basic(request: Request) -> ClientCredentials:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return _EMPTY
    try:
        client_id, _, client_secret = (
            base64.b64decode(encoded.strip(), validate=True).decode("ascii").partition(":")
        )
        return ClientCredentials(_form_decoded(client_id), _form_decoded(client_secret))
    except ValueError:  # of base64 and of both encodings
        # Fails as an unknown client does, and not as none: somebody has tried.
        return ClientCredentials("", "unreadable")


async def _read_form(request: Request) -> ClientCredentials:
    form = await request.form()
    return ClientCredentials(str(form.get("client_id", "")), str(form.get("client_secret", "")))


def _form_decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
