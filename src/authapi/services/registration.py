"""Registration: a person makes an account and is logged in."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors, request_context
from authapi.database import hand_back_connection
from authapi.emails import EmailAddress, MalformedEmail, parse_email
from authapi.enums import AuditAction, BuiltInRole, RegistrationMode
from authapi.models import Role, User
from authapi.repositories import password_credentials, roles, users
from authapi.runtime import Runtime
from authapi.services import audit
from authapi.services.new_passwords import hash_new_password
from authapi.services.user_sessions import SessionTokens, open_session


async def register(
    db: AsyncSession,
    runtime: Runtime,
    *,
    email: str,
    password: str,
    full_name: str,
    phone: str | None = None,
) -> SessionTokens:
    """Create an account with the role `user` and open its first session.

    Raises `RegistrationClosed`, `InvalidEmail`, `WeakPassword`, `EmailTaken`, `HashingBusy`.
    """
    if runtime.settings.registration.mode is RegistrationMode.CLOSED:
        raise errors.RegistrationClosed
    address = parse_new_email(runtime, email)
    # The unique constraint decides; this look only spares a hash for an address that is plainly taken.
    if await users.find_by_email(db, email_canonical=address.canonical):
        raise errors.EmailTaken
    await hand_back_connection(db)
    password_hash = await hash_new_password(runtime, password, email=address.display, full_name=full_name)
    user = await create_user(
        db,
        address=address,
        password_hash=password_hash,
        full_name=full_name,
        phone=phone,
        assigned=await roles.find_by_names(db, [BuiltInRole.USER]),
    )
    tokens = await open_session(db, runtime, user=user, amr=["pwd"])
    await audit.record(
        db,
        AuditAction.USER_REGISTERED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=tokens.user_session.id,
    )
    return tokens


async def create_user(
    db: AsyncSession,
    *,
    address: EmailAddress,
    password_hash: str,
    full_name: str,
    phone: str | None,
    assigned: list[Role],
) -> User:
    """Insert an account with its password and roles; raises `EmailTaken`."""
    context = request_context.current()
    user = User(
        email=address.display,
        email_canonical=address.canonical,
        full_name=full_name,
        phone=phone,
        registered_ip=context.ip,
        registered_user_agent=context.user_agent,
    )
    await users.add(db, user)
    await password_credentials.add(db, user_id=user.id, password_hash=password_hash)
    await users.replace_roles(db, user, assigned)
    return user


def parse_new_email(runtime: Runtime, email: str) -> EmailAddress:
    """The address of an account to be; raises `InvalidEmail`."""
    try:
        return parse_email(email, allow_special_domains=runtime.settings.email.allow_special_domains)
    except MalformedEmail as malformed:
        raise errors.InvalidEmail(
            fields=[errors.FieldError(("body", "email"), "email_invalid", str(malformed))]
        ) from None
