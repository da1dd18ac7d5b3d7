"""Verifies authapi's access tokens inside of another service, without a request per token."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from authapi import clock, errors
from authapi.revocation_set import RevocationSet
from authapi.security.access_tokens import AccessTokenClaims, InvalidAccessToken, decode_access_token
from authapi.security.signing_keys import VerifyingKey
from authapi.verify.errors import VerificationUnavailable
from authapi.verify.feed import FeedFollower
from authapi.verify.http import Fetcher, basic_authorization, checked_base_url
from authapi.verify.keys import KeyCache

if TYPE_CHECKING:
    from authapi.verify.dependencies import Guard

STATE_NAME = "authapi_verifier"


class Verifier:
    """Checks access tokens of one issuer for one audience; make one per process, start it with the app.

    `issuer` and `audience` are what tokens must say in `iss` and `aud`. `url` is where authapi answers, if
    that is not the issuer. Revocations are followed with `client_id` and `client_secret`, or with a
    `feed_token` that has the scope `revocations:read`; with `revocations=False` a token counts until it
    expires, whatever happens to its user. `max_staleness` is how long tokens are accepted without news of
    revocations, `keys_usable_for` how long without news of keys.

    Raises ValueError for an address that is not https (see `checked_base_url`) or missing credentials.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str = "authapi",
        url: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        feed_token: str | None = None,
        revocations: bool = True,
        max_staleness: timedelta = timedelta(seconds=10),
        keys_usable_for: timedelta = timedelta(hours=24),
        allow_plain_http: bool = False,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self._fetcher = Fetcher(checked_base_url(url or issuer, allow_plain_http=allow_plain_http))
        self._keys = KeyCache(self._fetcher, usable_for=keys_usable_for)
        self._revocations: RevocationSet | None = None
        self._follower: FeedFollower | None = None
        if not revocations:
            return
        if client_id and client_secret:
            authorization = basic_authorization(client_id, client_secret)
        elif feed_token:
            authorization = f"Bearer {feed_token}"
        else:
            raise ValueError(
                "following revocations takes client_id and client_secret, or feed_token; "
                "revocations=False accepts tokens until they expire"
            )
        self._revocations = RevocationSet(max_staleness=max_staleness)
        self._follower = FeedFollower(
            self._fetcher,
            self._revocations,
            authorization=authorization,
            # Every answer renews the proof; several must fit into the time that is left without one.
            wait=min(30.0, max_staleness.total_seconds() / 5),
        )

    async def __aenter__(self) -> Self:
        """Fetch the keys and start to follow; if authapi is away, tokens are refused until it is back."""
        await self._fetcher.open()
        try:
            await self._keys.warm()
            if self._follower is not None:
                await self._follower.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Run with a FastAPI app: `FastAPI(lifespan=verifier.lifespan)`, or `async with` in your own."""
        async with self:
            setattr(app.state, STATE_NAME, self)
            yield

    async def verify(self, token: str) -> AccessTokenClaims:
        """The claims of a token that is genuine, current and not revoked.

        Raises `InvalidAccessToken` (answer 401), `VerificationUnavailable` (answer 503); RuntimeError when
        the verifier was not started.
        """
        try:
            claims = self._decode(token, await self._keys.current())
        except InvalidAccessToken as refused:
            if refused.reason != "unknown_key":
                raise
            claims = self._decode(token, await self._keys.renewed())
        if self._revocations is not None:
            try:
                self._revocations.check(claims)
            except errors.InvalidAccessToken as revoked:
                raise InvalidAccessToken(str(revoked)) from None
            except errors.RevocationsUnknown as unknown:
                raise VerificationUnavailable(str(unknown)) from None
        return claims

    @cached_property
    def dependency(self) -> "Guard":
        """A FastAPI dependency that returns the claims of the request's bearer token."""
        from authapi.verify.dependencies import claims_dependency

        return claims_dependency(lambda _request: self)

    def require_scope(self, *scopes: str) -> "Guard":
        """A FastAPI dependency that returns the claims of tokens with all of these scopes."""
        from authapi.verify.dependencies import scope_dependency

        return scope_dependency(self.dependency, scopes)

    def _decode(self, token: str, keys: Mapping[str, VerifyingKey]) -> AccessTokenClaims:
        return decode_access_token(
            token, keys=keys, issuer=self.issuer, audience=self.audience, now=clock.utc_now()
        )

    async def _close(self) -> None:
        if self._follower is not None:
            await self._follower.stop()
        await self._keys.close()
        await self._fetcher.close()
