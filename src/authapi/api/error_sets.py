"""Errors that whole families of routes can answer, for their part of the API document."""

from authapi import errors

AUTHENTICATED = (
    errors.NotAuthenticated,
    errors.InvalidAccessToken,
    errors.TooManyRequests,
    errors.RevocationsUnknown,
    errors.DatabaseUnavailable,
)
WITH_BODY = (errors.MalformedRequest, errors.ValidationFailed)
# After a recent login, with the second factor of those who have one.
STEP_UP = (
    *AUTHENTICATED,
    *WITH_BODY,
    errors.ReauthenticationRequired,
    errors.SecondFactorRequired,
    errors.TooManyAttempts,
)
STEP_UP_WITH_PASSWORD = (*STEP_UP, errors.InvalidCredentials, errors.HashingBusy)
