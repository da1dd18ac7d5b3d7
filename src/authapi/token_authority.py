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
MAX_REMEMBERED_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class TimedKey:
    """May sign from `activates_at` on and verifies until `verifies_until`; None: no end is planned."""

    key: SigningKey
    activates_at: datetime
    verifies_until: datetime | None

    def may_sign(self, now: datetime) -> bool:
        """Whether its time to sign has come and its time to verify is not over."""
        return self.activates_at <= now and self.verifies(now)

    def verifies(self, now: datetime) -> bool:
        """Whether tokens of it are accepted: before it signs already, because clocks of hosts differ."""
        return self.verifies_until is None or self.verifies_until > now


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
    its key's time is over. Expiry, revocation and the end of keys are checked at every use: keys take turns
    by the clock, and nothing has to be loaded at that moment.
    """

    def __init__(
        self, *, issuer: str, audience: str, lifetime: timedelta, revocations: RevocationSet
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.lifetime = lifetime
        self._revocations = revocations
        self._keys: dict[str, TimedKey] = {}
        self._verifying_keys: dict[str, VerifyingKey] = {}
        self._next_key_ends_at: datetime | None = None
        self._remembered: OrderedDict[bytes, VerifiedToken] = OrderedDict()

    @property
    def keys(self) -> tuple[TimedKey, ...]:
        """The keys that verify now, the preferred one first."""
        self._drop_ended_keys(clock.utc_now())
        return tuple(self._keys.values())

    @property
    def signing_since(self) -> datetime | None:
        """When the key that signs began to; None without one, or with a shared secret, which has no date."""
        now = clock.utc_now()
        begun = next((timed.activates_at for timed in self._keys.values() if timed.may_sign(now)), None)
        return None if begun is None or begun.year == 1 else begun

    @property
    def remembered(self) -> int:
        """How many tokens' signatures need not be checked again."""
        return len(self._remembered)

    def use_keys(self, keys: Iterable[TimedKey]) -> None:
        """Replace the keys: all of them verify, and the first one whose time has come signs.

        Tokens of a key that is no longer given, or whose time is over, are refused from now on.
        """
        now = clock.utc_now()
        kept = {timed.key.kid: timed for timed in keys if timed.verifies(now)}
        if self._keys.keys() - kept.keys():
            self._remembered.clear()
        self._keys = kept
        self._verifying_keys = {kid: timed.key.verifying_key for kid, timed in kept.items()}
        self._next_key_ends_at = min(
            (timed.verifies_until for timed in kept.values() if timed.verifies_until is not None),
            default=None,
        )

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
        issued_at: datetime,
        not_before: datetime | None,
        client_id: str = FIRST_PARTY_CLIENT_ID,
    ) -> IssuedAccessToken:
        """Sign a token for a user's session; `roles` has the strongest one first.

        `issued_at` must be the session's stored `last_used_at`: voiding a user's tokens compares against that
        value. Tokens issued up to `not_before` are void. `iat` has whole seconds, so a token issued in the second
        of `not_before` gets the next second as its `iat`, or it would count as void too.
        """
        iat = _first_valid_second(issued_at, not_before)
        expires_in = int(self.lifetime.total_seconds())
        expires_at = max(iat, int(clock.utc_now().timestamp())) + expires_in
        claims = AccessTokenClaims(
            iss=self.issuer,
            aud=self.audience,
            sub=str(user_id),
            client_id=client_id,
            iat=iat,
            exp=expires_at,
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

    def issue_for_client(
        self, *, client_id: str, scope: str, issued_at: datetime, not_before: datetime | None
    ) -> IssuedAccessToken:
        """Sign a token in which a service client speaks for itself; `not_before` as for a user."""
        iat = _first_valid_second(issued_at, not_before)
        expires_in = int(self.lifetime.total_seconds())
        claims = AccessTokenClaims(
            iss=self.issuer,
            aud=self.audience,
            sub=client_id,
            client_id=client_id,
            iat=iat,
            exp=iat + expires_in,
            jti=secrets.token_urlsafe(16),
            scope=scope,
        )
        return IssuedAccessToken(self._sign(claims), expires_in)

    def ensure_signing(self) -> None:
        """Raise `errors.ServiceUnavailable` where `issue_for_user` would, for want of a key."""
        self._signing_key()

    def verify(self, token: str) -> VerifiedToken:
        """Check a presented token, from memory alone.

        Raises `errors.InvalidAccessToken` with the reason for the log, `errors.RevocationsUnknown`.
        """
        now = clock.utc_now()
        digest = token_digest(token)
        known = self._recall(digest, now)
        if known is not None:
            return known
        try:
            claims = decode_access_token(
                token, keys=self._verifying_keys, issuer=self.issuer, audience=self.audience, now=now
            )
            verified = VerifiedToken(claims, _principal(claims))
        except (InvalidAccessToken, ValueError) as invalid:
            raise errors.InvalidAccessToken(str(invalid)) from None
        self._ensure_recent(claims, now)
        self._revocations.check(claims)
        self._remembered[digest] = verified
        if len(self._remembered) > MAX_REMEMBERED_TOKENS:
            self._remembered.popitem(last=False)
        return verified

    def verify_known(self, token: str) -> VerifiedToken | None:
        """The same for a token whose signature has been checked before, which costs next to nothing; else None."""
        return self._recall(token_digest(token), clock.utc_now())

    def _recall(self, digest: bytes, now: datetime) -> VerifiedToken | None:
        self._drop_ended_keys(now)
        known = self._remembered.get(digest)
        if known is None:
            return None
        self._remembered.move_to_end(digest)
        try:
            known.claims.ensure_current(now)
        except InvalidAccessToken as invalid:
            raise errors.InvalidAccessToken(str(invalid)) from None
        self._ensure_recent(known.claims, now)
        self._revocations.check(known.claims)
        return known

    def _ensure_recent(self, claims: AccessTokenClaims, now: datetime) -> None:
        # A revocation is kept for as long as a token lives today. One that was issued for longer, before the
        # setting was lowered, would come back to life when its revocation goes.
        if claims.iat + (self.lifetime + clock.SKEW_MARGIN).total_seconds() < now.timestamp():
            raise errors.InvalidAccessToken("older_than_tokens_live")

    def _sign(self, claims: AccessTokenClaims) -> str:
        return encode_access_token(claims, key=self._signing_key())

    def _signing_key(self) -> SigningKey:
        now = clock.utc_now()
        for timed in self._keys.values():
            if timed.may_sign(now):
                return timed.key
        raise errors.ServiceUnavailable("no signing key is loaded")

    def _drop_ended_keys(self, now: datetime) -> None:
        if self._next_key_ends_at is not None and self._next_key_ends_at <= now:
            self.use_keys(tuple(self._keys.values()))


def _first_valid_second(issued_at: datetime, not_before: datetime | None) -> int:
    iat = int(issued_at.timestamp())
    return iat if not_before is None else max(iat, int(not_before.timestamp()) + 1)


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
