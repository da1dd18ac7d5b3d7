"""Access tokens: JWTs after RFC 9068, encoded and decoded in this one place (RFC 8725; ASVS V9).

python-jose checks the signature and nothing else. Left to itself it takes a token without `aud`, ignores
`crit` and `typ`, keeps the last of two equal claims, reads several spellings of one token, and lets
TypeError, OverflowError and RecursionError escape; so everything around the signature is checked here, and
every refusal is InvalidAccessToken.
"""

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jose import jws
from jose.exceptions import JWSError

from authapi.security import base64url, strict_json
from authapi.security.signing_keys import SigningKey, VerifyingKey

MAX_TOKEN_CHARACTERS = 4096
"""Proxies commonly allow 8 KiB for all header lines together (ASVS 4.2.5)."""

TOKEN_TYPE = "at+jwt"
_MAX_HEADER_BYTES = 512
_HEADER_MEMBERS = {"alg", "kid", "typ"}
_MAX_INSTANT = 253_402_300_799  # 9999-12-31T23:59:59Z, the last one that datetime can hold

_COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# RFC 6749 section 3.3, or empty.
SCOPE = re.compile(r"(?:[!#-\[\]-~]+(?: [!#-\[\]-~]+)*)?")
# Control characters and lone surrogates fail later, in PostgreSQL, in header lines and in UTF-8.
_UNSAFE_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_USER_CLAIMS = frozenset({"sid", "user_id", "email", "role", "roles", "amr", "auth_time"})


class InvalidAccessToken(Exception):
    """The token is refused; `reason` is a short snake_case word for the log, not for the caller."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AccessTokenExpired(InvalidAccessToken):
    """The token was good and its time is over."""

    def __init__(self) -> None:
        super().__init__("expired")


class UnissuableAccessToken(ValueError):
    """The claims would make a token that `decode_access_token` refuses, or one above MAX_TOKEN_CHARACTERS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokenClaims:
    """What an access token says. Instants are whole seconds since 1970 (RFC 7519 NumericDate).

    The claims from `sid` on are those of a user. The token of a service client has none of them, and its
    `sub` equals its `client_id`; a user's `sub` equals its `user_id`, so neither can pose as the other (RFC
    9700 section 4.15).
    """

    iss: str
    aud: str
    sub: str
    client_id: str
    iat: int
    exp: int
    jti: str
    scope: str
    sid: str | None = None
    user_id: str | None = None
    email: str | None = field(default=None, repr=False)
    role: str | None = None
    roles: tuple[str, ...] = ()
    amr: tuple[str, ...] = ()
    auth_time: int | None = None

    @property
    def scopes(self) -> frozenset[str]:
        """The scope values one by one."""
        return _values(self.scope)

    @property
    def is_service_client(self) -> bool:
        """Whether a service client itself, not a user, is the subject."""
        return self.sid is None

    def ensure_current(self, now: datetime, leeway_seconds: int = 30) -> None:
        """Raise AccessTokenExpired, or InvalidAccessToken for a token from the future.

        To be called at every use of verified claims that were kept. The leeway covers clocks of several hosts
        that differ. A naive `now` is a ValueError.
        """
        instant = _posix(now)
        if max(self.iat, self.auth_time or 0) > instant + leeway_seconds:
            _refuse("issued_in_the_future")
        if self.exp <= instant - leeway_seconds:
            raise AccessTokenExpired


def encode_access_token(claims: AccessTokenClaims, *, key: SigningKey) -> str:
    """Sign `claims` with the header `{alg, kid, typ: at+jwt}`.

    Raises UnissuableAccessToken where the token would be refused later: better here than at every use.
    """
    members = {name: getattr(claims, name) for name in claims.__slots__}
    if claims.is_service_client:
        members = {name: value for name, value in members.items() if value not in (None, ())}
    elif claims.role is None:
        del members["role"]
    try:
        payload = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
        if _claims(strict_json.parse_object(payload)) != claims:
            _refuse("not_the_same_claims")
    except (InvalidAccessToken, ValueError) as error:
        raise UnissuableAccessToken(str(error)) from None
    headers = {"typ": TOKEN_TYPE, "kid": key.kid}
    token = jws.sign(payload, key.jose_key, headers=headers, algorithm=key.algorithm.value)
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise UnissuableAccessToken("token_too_large")
    return token


def decode_access_token(
    token: str,
    *,
    keys: Mapping[str, VerifyingKey],
    issuer: str,
    audience: str,
    now: datetime,
    leeway_seconds: int = 30,
) -> AccessTokenClaims:
    """The claims of a current token that one of `keys` (by kid) signed for this issuer and audience.

    Raises InvalidAccessToken, of which AccessTokenExpired is one, for every other `token` whatever it is
    (RFC 9068 section 4, RFC 8725 section 3, ASVS 9.1.1 to 9.2.3). A naive `now` is a ValueError.
    """
    instant = _posix(now)
    try:
        members = strict_json.parse_object(_verified_payload(token, keys))
        claims = _claims(members)
        if claims.iss != issuer:
            _refuse("wrong_issuer")
        if claims.aud != audience:
            _refuse("wrong_audience")
        if "nbf" in members and _instant(members, "nbf") > instant + leeway_seconds:
            _refuse("not_yet_valid")
        claims.ensure_current(now, leeway_seconds)
    except InvalidAccessToken:
        raise
    except Exception:
        # Fail closed whatever a parser raises, RecursionError included. The cause may hold the token.
        raise InvalidAccessToken("malformed") from None
    return claims


def token_digest(token: str) -> bytes:
    """The SHA-256 digest (32 bytes) under which verified claims are cached; defined for every text.

    No key for revocation: whoever holds an ES256 token can turn its signature (r, s) into the equally valid
    (r, -s). Revoke by `sid`, `sub` or `jti`.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _verified_payload(token: str, keys: Mapping[str, VerifyingKey]) -> bytes:
    if not isinstance(token, str):
        _refuse("not_text")
    if len(token) > MAX_TOKEN_CHARACTERS:
        _refuse("too_large")
    if not _COMPACT_JWS.fullmatch(token):
        _refuse("not_a_compact_jws")
    try:
        header, payload, _ = (base64url.decode(part) for part in token.split("."))
    except ValueError:
        _refuse("not_canonical_base64url")
    key = _key_for(header, keys)
    try:
        # a list: python-jose would search a text for the algorithm's name
        jws.verify(token, key.jose_key, [key.algorithm.value])
    except JWSError:
        _refuse("bad_signature")
    return payload


def _key_for(header: bytes, keys: Mapping[str, VerifyingKey]) -> VerifyingKey:
    # No value of ours is a list or an object, so depth is refused before any recursive parser sees it.
    if len(header) > _MAX_HEADER_BYTES or header.count(b"{") != 1 or b"[" in header:
        _refuse("bad_header")
    members = strict_json.parse_object(header)
    # crit, b64, jwk, jku, x5u, x5c, zip, enc: whatever we do not issue is refused, not ignored
    if members.keys() != _HEADER_MEMBERS:
        _refuse("bad_header")
    if members["typ"] != TOKEN_TYPE:
        _refuse("wrong_type")
    key = keys.get(_text(members, "kid"))
    if key is None:
        _refuse("unknown_key")
    if members["alg"] != key.algorithm.value:
        _refuse("wrong_algorithm")
    return key


def _claims(members: Mapping[str, Any]) -> AccessTokenClaims:
    if any(not _is_flat(value) for value in members.values()):
        _refuse("bad_value")
    is_user = not _USER_CLAIMS.isdisjoint(members)
    claims = AccessTokenClaims(
        iss=_text(members, "iss"),
        aud=_text(members, "aud"),
        sub=_text(members, "sub"),
        client_id=_text(members, "client_id"),
        iat=_instant(members, "iat"),
        exp=_instant(members, "exp"),
        jti=_text(members, "jti"),
        scope=_scope(members),
        **(_user_claims(members) if is_user else {}),
    )
    if claims.sub != (claims.user_id if is_user else claims.client_id):
        _refuse("wrong_subject")
    if is_user and claims.sub == claims.client_id:
        _refuse("wrong_subject")
    if claims.exp <= claims.iat:
        _refuse("expires_before_issue")
    return claims


def _user_claims(members: Mapping[str, Any]) -> dict[str, Any]:
    roles = _texts(members, "roles")
    # a user without roles has no strongest one; otherwise it is one of them
    role = _text(members, "role") if roles or "role" in members else None
    if role is not None and role not in roles:
        _refuse("bad_role")
    return {
        **{name: _text(members, name) for name in ("sid", "user_id", "email")},
        "role": role,
        "roles": roles,
        "amr": _texts(members, "amr"),
        "auth_time": _instant(members, "auth_time"),
    }


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value or _UNSAFE_TEXT.search(value):
        _refuse(f"bad_{name}")
    # Thousands of claims are remembered, most of which say the same: one text for all.
    return sys.intern(value)


def _texts(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = members.get(name)
    if not isinstance(values, list):
        _refuse(f"bad_{name}")
    return tuple(_text({name: value}, name) for value in values)


def _instant(members: Mapping[str, Any], name: str) -> int:
    value = members.get(name)
    # type(), because True is an int
    if type(value) is not int or not 0 < value <= _MAX_INSTANT:
        _refuse(f"bad_{name}")
    return value


def _scope(members: Mapping[str, Any]) -> str:
    scope = members.get("scope")
    if not isinstance(scope, str) or not SCOPE.fullmatch(scope):
        _refuse("bad_scope")
    return sys.intern(scope)


@lru_cache(maxsize=256)
def _values(scope: str) -> frozenset[str]:
    return frozenset(scope.split())


def _is_flat(value: object) -> bool:
    return isinstance(value, str | int) or (
        isinstance(value, list) and all(isinstance(v, str) for v in value)
    )


def _posix(now: datetime) -> float:
    if now.tzinfo is None:
        raise ValueError("now must be aware")
    return now.timestamp()


def _refuse(reason: str) -> NoReturn:
    raise InvalidAccessToken(reason)
