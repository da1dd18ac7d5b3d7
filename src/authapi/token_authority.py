"""Issues access tokens with the current signing key and verifies presented ones from memory."""

import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from authapi import clock, errors
from authapi.principal import Principal
from authapi.revocation_set import RevocationSet
from authapi.security.access_tokens import (
    AccessTokenClaims,
    InvalidAccessToken,
    decode_access_token,
    encode_access_token,
    token_digest,
)
from authapi.security.signing_keys import SigningKey, VerifyingKey

# The `client_id` of logins through authapi's own routes (RFC 9068 asks for one). Users' subjects are UUIDs,
# so nobody can pose as it.
FIRST_PARTY_CLIENT_ID = "authapi"
# An entry is about a kilobyte.
MAX_REMEMBERED_TOKENS = 20_000


@dataclass(frozen=True, slots=True)
class IssuedAccessToken:
    """A signed token and how long it is valid, in seconds."""

    token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A genuine, current token; `principal` is None when a service client, not a user, is the subject."""

    claims: AccessTokenClaims
    principal: Principal | None


class TokenAuthority:
    """The keys and the rules of this process's access tokens.

    A signature is checked once per process and remembered by the token's digest until the token expires or
    its key retires. Expiry and revocation are checked at every use.
    """

    def __init__(
        self, *, issuer: str, audience: str, lifetime: timedelta, revocations: RevocationSet
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.lifetime = lifetime
        self._revocations = revocations
        self._signing_key: SigningKey | None = None
        self._verifying_keys: dict[str, VerifyingKey] = {}
        self._remembered: OrderedDict[bytes, VerifiedToken] = OrderedDict()

    @property
    def verifying_keys(self) -> tuple[VerifyingKey, ...]:
        return tuple(self._verifying_keys.values())

    def use_keys(self, *, signing: SigningKey, verifying: Iterable[VerifyingKey]) -> None:
        """Replace the keys; tokens of a key that is no longer given are refused from now on."""
        keys = {key.kid: key for key in verifying}
        if self._verifying_keys.keys() - keys.keys():
            self._remembered.clear()
        self._signing_key = signing
        self._verifying_keys = keys

    def issue_for_user(
        self,
        *,
        user_id: UUID,
        email: str,
        roles: Sequence[str],
        scope: str,
        user_session_id: UUID,
        amr: Sequence[str],
        auth_time: datetime,
        not_before: datetime | None,
    ) -> IssuedAccessToken:
        """Sign a token for a user's session; `roles` has the strongest one first.

        `not_before` is the instant up to which the user's tokens are void. A token that is issued within the
        same second says the next one: whole seconds could not tell it from those that are void.
        """
        issued_at = int(clock.utc_now().timestamp())
        if not_before is not None:
            issued_at = max(issued_at, int(not_before.timestamp()) + 1)
        expires_in = int(self.lifetime.total_seconds())
        claims = AccessTokenClaims(
            iss=self.issuer,
            aud=self.audience,
            sub=str(user_id),
            client_id=FIRST_PARTY_CLIENT_ID,
            iat=issued_at,
            exp=issued_at + expires_in,
            jti=secrets.token_urlsafe(16),
            scope=scope,
            sid=str(user_session_id),
            user_id=str(user_id),
            email=email,
            role=roles[0] if roles else None,
            roles=tuple(roles),
            amr=tuple(amr),
            auth_time=int(auth_time.timestamp()),
        )
        return IssuedAccessToken(self._sign(claims), expires_in)

    def verify(self, token: str) -> VerifiedToken:
        """Check a presented token, from memory alone.

        Raises `errors.InvalidAccessToken` with the reason for the log, `errors.RevocationsUnknown`.
        """
        now = clock.utc_now()
        digest = token_digest(token)
        verified = self._remembered.get(digest)
        try:
            if verified is not None:
                self._remembered.move_to_end(digest)
                verified.claims.ensure_current(now)
                self._revocations.check(verified.claims)
                return verified
            claims = decode_access_token(
                token, keys=self._verifying_keys, issuer=self.issuer, audience=self.audience, now=now
            )
            verified = VerifiedToken(claims, _principal(claims))
        except (InvalidAccessToken, ValueError) as invalid:
            raise errors.InvalidAccessToken(str(invalid)) from None
        self._revocations.check(claims)
        self._remembered[digest] = verified
        if len(self._remembered) > MAX_REMEMBERED_TOKENS:
            self._remembered.popitem(last=False)
        return verified

    def _sign(self, claims: AccessTokenClaims) -> str:
        if self._signing_key is None:
            raise errors.ServiceUnavailable("no signing key is loaded")
        return encode_access_token(claims, key=self._signing_key)


def _principal(claims: AccessTokenClaims) -> Principal | None:
    """The user a token speaks for; ValueError if an id in it is not a UUID."""
    if claims.sid is None or claims.email is None or claims.auth_time is None:
        return None
    return Principal(
        user_id=UUID(claims.sub),
        user_session_id=UUID(claims.sid),
        email=claims.email,
        role=claims.role,
        roles=claims.roles,
        scopes=claims.scopes,
        amr=claims.amr,
        auth_time=datetime.fromtimestamp(claims.auth_time, tz=UTC),
    )
