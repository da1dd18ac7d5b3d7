"""Decides whether a password may become somebody's, and hashes it."""

from authapi.errors import FieldError, WeakPassword
from authapi.runtime import Runtime
from authapi.security.password_policy import PasswordRejected, check_password

BREACHED = "This password is known from a breach; choose another one."


async def hash_new_password(
    runtime: Runtime, password: str, *, email: str, full_name: str, field: str = "password"
) -> str:
    """Hash a password that the policy accepts for this person.

    Hold no database connection while calling. `field` is the request's name for it. Raises `WeakPassword`
    naming every reason, `HashingBusy`.
    """
    try:
        check_password(
            password, policy=runtime.settings.password.policy.value, email=email, full_name=full_name
        )
    except PasswordRejected as rejected:
        raise WeakPassword(
            fields=[
                FieldError(loc=("body", field), code=reason.code, message=reason.message)
                for reason in rejected.reasons
            ]
        ) from None
    if await runtime.breached_passwords.contains(password):
        raise WeakPassword(fields=[FieldError(("body", field), "password_compromised", BREACHED)])
    return await runtime.hasher.hash(password)
