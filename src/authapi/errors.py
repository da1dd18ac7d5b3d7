"""Every situation that authapi answers with an error, one class each.

    AuthApiError
    ├── BadRequest 400 ............ MalformedRequest, UnstorableText, NumberOutOfRange,
    │                               InvalidOAuth2Request, UnsupportedGrantType, UnauthorizedClient,
    │                               InvalidScope, InvalidOneTimeToken
    ├── Unauthenticated 401 ....... NotAuthenticated, InvalidAccessToken, InvalidCredentials
    │                               InvalidRefreshToken, RefreshTokenReused, InvalidClient
    │                               InvalidCode, MfaRequired, InvalidMfaToken,
    │                               ReauthenticationRequired, SecondFactorRequired
    ├── Forbidden 403 ............. PermissionDenied, InsufficientScope, AccountDisabled,
    │                               RegistrationClosed, EmailNotVerified, CrossSiteRequest,
    │                               AddressNotAllowed, CannotGrant, CannotManageUser
    ├── NotFound 404 .............. UserNotFound, RoleNotFound, PermissionNotFound,
    │                               SessionNotFound, FactorNotFound, ClientNotFound
    ├── MethodNotAllowed 405
    ├── Conflict 409 .............. EmailTaken, FactorExists, RoleExists, RoleInUse, RoleIsBuiltIn,
    │                               LastAdmin, RolesExceedToken, PermissionExists, PermissionInUse,
    │                               PermissionIsBuiltIn, CatalogueFull
    ├── PayloadTooLarge 413
    ├── UriTooLong 414
    ├── ValidationFailed 422 ...... InvalidEmail, WeakPassword, UnknownRole, UnknownPermission, InvalidCursor
    ├── TooManyRequests 429, TooManyAttempts
    ├── InternalError 500
    └── ServiceUnavailable 503 .... DatabaseUnavailable, HashingBusy, RevocationsUnknown

`message` is what a person may read; `detail` is for the operator and reaches only the log. `keeps_writes`
marks the errors whose transaction is committed all the same: a failed login must stay on record.
`docs/errors.md` is generated from this tree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a request; never holds the submitted value."""

    loc: tuple[str | int, ...]
    code: str
    message: str


class AuthApiError(Exception):
    """Base of every error that reaches a client as an envelope.

    `detail` goes to the log only. `retry_after` is in seconds and becomes the `Retry-After` header.
    """

    status_code: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    message: ClassVar[str] = "Something went wrong on our side. Quote the request id when you report it."
    keeps_writes: ClassVar[bool] = False
    # What the routes call it whose errors RFC 6749 section 5.2 fixes.
    oauth2_error: ClassVar[str] = "invalid_request"

    def __init__(
        self,
        detail: str | None = None,
        *,
        fields: Sequence[FieldError] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.message)
        self.detail = detail
        self.fields = tuple(fields)
        self.retry_after = retry_after
        self.headers = dict(headers or {})


class InternalError(AuthApiError):
    """An exception that nobody foresaw; the answer holds nothing but the request id."""


# --- 400 ---------------------------------------------------------------------------------------------


class BadRequest(AuthApiError):
    status_code = 400
    code = "bad_request"
    message = "The request could not be understood."


class MalformedRequest(BadRequest):
    code = "malformed_request"
    message = "The body is not the UTF-8 JSON or form that this route expects."


class UnstorableText(MalformedRequest):
    """Well-formed JSON that PostgreSQL would not take; clients need no other code for it."""

    message = (
        "A string in the body holds a NUL character or half of a surrogate pair, which cannot be stored."
    )


class NumberOutOfRange(MalformedRequest):
    """Well-formed JSON that the next reader might take for another number (RFC 7493 section 2.2)."""

    message = "A number in the body is out of range: whole numbers have at most 64 bits, others are doubles."


class InvalidOAuth2Request(BadRequest):
    code = "invalid_request"
    message = "A parameter is missing, repeated or malformed."


class InvalidOneTimeToken(BadRequest):
    """Unknown, expired, used, replaced, or of another purpose: one answer for all."""

    code = "invalid_one_time_token"
    message = "This link does not work any more. It may be used, expired or replaced; ask for a new one."


class UnsupportedGrantType(BadRequest):
    code = "unsupported_grant_type"
    message = "This grant_type is not supported; the server metadata lists the ones that are."
    oauth2_error = "unsupported_grant_type"


class UnauthorizedClient(BadRequest):
    """The token that a client wants revoked was issued to another one (RFC 7009 section 2.1)."""

    code = "unauthorized_client"
    message = "The token was issued to another client."
    oauth2_error = "unauthorized_client"


class InvalidScope(BadRequest):
    code = "invalid_scope"
    message = "The scope is malformed or more than may be granted."
    oauth2_error = "invalid_scope"


# --- 401 ---------------------------------------------------------------------------------------------


class Unauthenticated(AuthApiError):
    """401 with the RFC 6750 challenge; `challenge` holds what follows the `Bearer` scheme."""

    status_code = 401
    code = "unauthenticated"
    message = "Log in first."
    challenge: ClassVar[str] = "Bearer"


class NotAuthenticated(Unauthenticated):
    """No credential was sent, so the challenge carries no error code (RFC 6750 section 3.1)."""

    code = "not_authenticated"
    message = "This route needs a bearer token. Log in and send 'Authorization: Bearer <token>'."


class InvalidAccessToken(Unauthenticated):
    code = "invalid_token"
    message = "The access token is invalid, expired or revoked. Refresh it or log in again."
    challenge = 'Bearer error="invalid_token"'


class InvalidCredentials(Unauthenticated):
    """Unknown address and wrong password alike: the answer must not tell which (ASVS 6.3.8)."""

    code = "invalid_credentials"
    message = "E-mail or password is wrong."
    keeps_writes = True
    oauth2_error = "invalid_grant"


class InvalidCode(Unauthenticated):
    """A wrong, used or expired code of a second factor."""

    code = "invalid_code"
    message = "The code is wrong or was used before. Wait for the next one, or use a recovery code."
    keeps_writes = True
    oauth2_error = "invalid_grant"


class ReauthenticationRequired(Unauthenticated):
    """The login is too long ago for this (RFC 9470 section 3)."""

    code = "reauthentication_required"
    message = "This needs a recent login. Call POST /api/auth/reauthenticate, then try again."
    challenge = 'Bearer error="insufficient_user_authentication", max_age="900"'


class SecondFactorRequired(Unauthenticated):
    """The login showed one factor, and this needs two (RFC 9470 section 3)."""

    code = "second_factor_required"
    message = "This needs your second factor. Call POST /api/auth/reauthenticate with a code, then try again."
    challenge = 'Bearer error="insufficient_user_authentication", acr_values="mfa"'


class MfaRequired(Unauthenticated):
    """The password was right, and a second factor is enrolled: no tokens before its code.

    `mfa_token` stands for this login; `factors` are the kinds of code that complete it.
    """

    code = "mfa_required"
    message = "A second factor is enrolled. Complete the login with POST /api/auth/login/mfa."
    keeps_writes = True
    oauth2_error = "mfa_required"

    def __init__(self, *, mfa_token: str, factors: Sequence[str]) -> None:
        super().__init__()
        self.mfa_token = mfa_token
        self.factors = tuple(factors)


class InvalidMfaToken(Unauthenticated):
    code = "invalid_mfa_token"
    message = "This login has expired or was finished. Log in again."


class InvalidRefreshToken(Unauthenticated):
    code = "invalid_refresh_token"
    message = "The refresh token is invalid, expired or revoked. Log in again."
    challenge = 'Bearer error="invalid_token"'
    oauth2_error = "invalid_grant"


class RefreshTokenReused(InvalidRefreshToken):
    """An old refresh token came back: either it was stolen or its thief was faster (RFC 9700 4.14.2)."""

    code = "refresh_token_reused"
    message = "This refresh token was used before, so its session was ended for safety. Log in again."
    keeps_writes = True


class InvalidClient(Unauthenticated):
    """Client authentication failed (RFC 6749 section 5.2)."""

    code = "invalid_client"
    message = "The client id or the client secret is wrong."
    challenge = 'Basic realm="authapi"'
    keeps_writes = True
    oauth2_error = "invalid_client"


# --- 403 ---------------------------------------------------------------------------------------------


class Forbidden(AuthApiError):
    status_code = 403
    code = "forbidden"
    message = "You may not do this."


class PermissionDenied(Forbidden):
    code = "permission_denied"
    message = "Your roles do not allow this. Ask an administrator."
    keeps_writes = True


class InsufficientScope(Forbidden):
    """The user may, but this token may not (RFC 6750 section 3.1)."""

    code = "insufficient_scope"
    message = "The access token was not issued for this. Ask for a token with the needed scope."
    keeps_writes = True


class AccountDisabled(Forbidden):
    """Told only to somebody who has just shown the right password."""

    code = "account_disabled"
    message = "This account is disabled. Ask an administrator."
    keeps_writes = True
    oauth2_error = "invalid_grant"


class EmailNotVerified(Forbidden):
    """Told only to somebody who has just shown the right password."""

    code = "email_not_verified"
    message = (
        "Confirm your e-mail address first, with the link that was mailed to it. You can ask for another."
    )
    keeps_writes = True
    oauth2_error = "invalid_grant"


class CrossSiteRequest(Forbidden):
    """A cookie came along with a request that another site's page made (ASVS 3.5.1)."""

    code = "cross_site_request"
    message = "This cookie only works from pages of the app; their origin must be on the allow-list."


class RegistrationClosed(Forbidden):
    code = "registration_closed"
    message = "Accounts are created by administrators here. Ask one for an invitation."


class AddressNotAllowed(Forbidden):
    """The operator limits the administration to some networks (ASVS 8.4.2)."""

    code = "address_not_allowed"
    message = "The administration cannot be used from your address."


class CannotGrant(Forbidden):
    """The caller tried to give or take rights that they lack: otherwise a small right would grow into all."""

    code = "cannot_grant"
    message = "You can only give or take away permissions that you have yourself."
    keeps_writes = True


class CannotManageUser(Forbidden):
    code = "cannot_manage_user"
    message = "This user has permissions that you do not have, so you cannot change the account."
    keeps_writes = True


# --- 404, 405 ----------------------------------------------------------------------------------------


class NotFound(AuthApiError):
    """Also the answer for what exists but belongs to somebody else."""

    status_code = 404
    code = "not_found"
    message = "There is nothing here."


class UserNotFound(NotFound):
    code = "user_not_found"
    message = "There is no such user."


class FactorNotFound(NotFound):
    code = "factor_not_found"
    message = "There is no second factor to confirm, renew or remove."


class SessionNotFound(NotFound):
    code = "session_not_found"
    message = "There is no such session, or it is not yours."


class ClientNotFound(NotFound):
    code = "client_not_found"
    message = "There is no such service client."


class RoleNotFound(NotFound):
    code = "role_not_found"
    message = "There is no such role."


class PermissionNotFound(NotFound):
    code = "permission_not_found"
    message = "There is no such permission."


class MethodNotAllowed(AuthApiError):
    status_code = 405
    code = "method_not_allowed"
    message = "This path does not know that method; the Allow header lists the ones it knows."


# --- 409 ---------------------------------------------------------------------------------------------


class Conflict(AuthApiError):
    status_code = 409
    code = "conflict"
    message = "The request conflicts with the current state. Read it again, then retry."


class EmailTaken(Conflict):
    code = "email_taken"
    message = "An account with this e-mail exists. Log in instead."


class FactorExists(Conflict):
    code = "factor_exists"
    message = "An authenticator app is enrolled already. Remove it before you enroll another."


class RoleExists(Conflict):
    code = "role_exists"
    message = "A role with this name exists."


class RoleInUse(Conflict):
    code = "role_in_use"
    message = "The role is still assigned to users. Remove it from them first."


class RoleIsBuiltIn(Conflict):
    code = "role_is_built_in"
    message = (
        "Of a built-in role only requires_second_factor can be changed. Create a role of your own instead."
    )


class LastAdmin(Conflict):
    """An installation without an administrator could not be repaired through the API."""

    code = "last_admin"
    message = "This is the last active administrator. Make somebody else an administrator first."


class RolesExceedToken(Conflict):
    """The names would not fit into an access token, and the user could no longer log in."""

    code = "roles_exceed_token"
    message = (
        "These roles with their permissions are more than an access token can carry. Assign fewer roles, or "
        "give them fewer permissions."
    )


class PermissionExists(Conflict):
    code = "permission_exists"
    message = "A permission with this name exists."


class PermissionInUse(Conflict):
    code = "permission_in_use"
    message = "The permission is still part of roles. Remove it from them first."


class PermissionIsBuiltIn(Conflict):
    code = "permission_is_built_in"
    message = "Built-in permissions cannot be changed or deleted."


class CatalogueFull(Conflict):
    code = "catalogue_full"
    message = "There are as many roles or permissions as this service keeps. Delete one first."


# --- 413, 414, 422 ----------------------------------------------------------------------------------------


class PayloadTooLarge(AuthApiError):
    status_code = 413
    code = "payload_too_large"
    message = "The request body is larger than this service accepts (64 KiB)."


class UriTooLong(AuthApiError):
    status_code = 414
    code = "uri_too_long"
    message = "The path and query string are longer than this service accepts (8 KiB)."


class ValidationFailed(AuthApiError):
    status_code = 422
    code = "validation_failed"
    message = "Some fields are missing or wrong; 'fields' says which and why."


class InvalidEmail(ValidationFailed):
    code = "invalid_email"
    message = "This is not an e-mail address that can have an account."

    @classmethod
    def of(cls, field: str) -> Self:
        """About one field of the body; why exactly would quote what was sent."""
        return cls(fields=[FieldError(("body", field), cls.code, cls.message)])


class WeakPassword(ValidationFailed):
    code = "weak_password"
    message = "Choose another password; 'fields' says what is wrong with this one."


class UnknownRole(ValidationFailed):
    code = "unknown_role"
    message = "One of these roles does not exist; GET /api/admin/roles lists the ones that do."


class UnknownPermission(ValidationFailed):
    code = "unknown_permission"
    message = "One of these permissions does not exist; GET /api/admin/permissions lists the ones that do."


class InvalidCursor(ValidationFailed):
    code = "invalid_cursor"
    message = "The cursor is not one that this list has returned. Start again without a cursor."


# --- 429, 503 ----------------------------------------------------------------------------------------


class TooManyRequests(AuthApiError):
    status_code = 429
    oauth2_error = "temporarily_unavailable"
    code = "rate_limited"
    message = "Too many requests. Try again after the seconds in Retry-After."


class TooManyAttempts(AuthApiError):
    """The account, or what could be one, is throttled: the same for known and unknown ones."""

    status_code = 429
    oauth2_error = "temporarily_unavailable"
    code = "too_many_attempts"
    message = "Too many failed attempts. Try again after the seconds in Retry-After."


class ServiceUnavailable(AuthApiError):
    status_code = 503
    oauth2_error = "temporarily_unavailable"
    code = "service_unavailable"
    message = "The service cannot answer right now. Try again after the seconds in Retry-After."

    def __init__(self, detail: str | None = None, *, retry_after: float = 1) -> None:
        super().__init__(detail, retry_after=retry_after)


class DatabaseUnavailable(ServiceUnavailable):
    code = "database_unavailable"


class RevocationsUnknown(ServiceUnavailable):
    """Revocations could not be followed for too long: a token that cannot be checked is not allowed."""

    code = "revocations_unknown"


class HashingBusy(ServiceUnavailable):
    """The queue of password checks is full: refusing at once is better than timing out late."""

    code = "hashing_busy"
    # Commit: the throttle counter was just decremented.
    keeps_writes = True
    message = "Too many logins at once. Try again after the seconds in Retry-After."
