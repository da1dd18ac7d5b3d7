"""Registration: a person makes an account, and its address is asked to confirm it."""

from collections.abc import Awaitable
from contextlib import nullcontext
from functools import partial
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import errors, request_context
from authapi.database import hand_back_connection
from authapi.emails import EmailAddress, MalformedEmail, parse_email
from authapi.enums import AuditAction, BuiltInRole, Locale, MailKind, OneTimeTokenPurpose, RegistrationMode
from authapi.models import Role, User
from authapi.models.base import new_id
from authapi.repositories import password_credentials, roles, users
from authapi.runtime import Runtime
from authapi.services import audit, link_mails, notifications
from authapi.services.new_passwords import hash_new_password
from authapi.services.user_sessions import SessionTokens, open_session

PURPOSE = OneTimeTokenPurpose.VERIFY_EMAIL


async def register(
    db: AsyncSession,
    runtime: Runtime,
    *,
    email: str,
    password: str,
    full_name: str,
    phone: str | None = None,
    locale: str = Locale.EN,
) -> SessionTokens | None:
    """Create an account with the role `user`, mail its address a link and open the first session.

    Returns None where a login needs a verified address. In the mode `verify_first` a taken address is
    answered like a new one, and its owner gets a mail. Raises `RegistrationClosed`, `InvalidEmail`,
    `WeakPassword`, `EmailTaken`, `HashingBusy`.
    """
    mode = runtime.settings.registration.mode
    if mode is RegistrationMode.CLOSED:
        raise errors.RegistrationClosed
    address = parse_new_email(runtime, email)
    # The unique constraint decides. In mode `open`, simultaneous registrations of one address run one by one, so
    # only the first is hashed. In other modes each is hashed anyway, and waiting here would be an unbounded queue.
    is_spared = mode is RegistrationMode.OPEN
    async with runtime.registrations.take(address.canonical) if is_spared else nullcontext():
        tokens = await _register(
            db,
            runtime,
            address=address,
            password=password,
            full_name=full_name,
            phone=phone,
            locale=locale,
        )
        await hand_back_connection(db)
    return tokens


async def _register(
    db: AsyncSession,
    runtime: Runtime,
    *,
    address: EmailAddress,
    password: str,
    full_name: str,
    phone: str | None,
    locale: str,
) -> SessionTokens | None:
    mode = runtime.settings.registration.mode
    owner = await users.find_bare_by_email(db, email_canonical=address.canonical)
    if owner is not None and mode is RegistrationMode.OPEN:
        raise errors.EmailTaken
    await hand_back_connection(db)
    password_hash = await hash_new_password(runtime, password, email=address.display, full_name=full_name)
    create = partial(
        create_user,
        db,
        password_hash=password_hash,
        full_name=full_name,
        phone=phone,
        assigned=await roles.find_by_names(db, [BuiltInRole.USER]),
        locale=locale,
    )
    if mode is RegistrationMode.VERIFY_FIRST:
        await _register_unseen(db, runtime, address=address, owner=owner, create=create)
        return None
    user = await create(address=address)
    tokens = None
    if runtime.settings.allows_unverified_login:
        tokens = await open_session(db, runtime, user=user, amr=["pwd"])
    await audit.record(
        db,
        AuditAction.USER_REGISTERED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=tokens.user_session.id if tokens else None,
    )
    await link_mails.offer(db, runtime, purpose=PURPOSE, user=user, address=address)
    return tokens


class _Create(Protocol):
    def __call__(self, *, address: EmailAddress) -> Awaitable[User]: ...


async def _register_unseen(
    db: AsyncSession, runtime: Runtime, *, address: EmailAddress, owner: User | None, create: _Create
) -> None:
    """Do the same work for a new and for a taken address, so that the time tells nothing (ASVS 6.3.8).

    For a taken address an account with a made-up address is inserted and rolled back.
    """
    stand_in = EmailAddress(address.display, f"{new_id()}@stand-in.invalid")
    user, link = None, ""
    try:
        async with db.begin_nested() as savepoint:
            user = await create(address=stand_in if owner else address)
            link = await link_mails.issue(db, runtime, purpose=PURPOSE, user=user)
            if owner is not None:
                await savepoint.rollback()
    except errors.EmailTaken:
        # Another request registered the address while this password was hashed.
        owner = await users.find_bare_by_email(db, email_canonical=address.canonical)
    if owner is not None:
        await audit.record(db, AuditAction.USER_REGISTERED_AGAIN, subject_id=owner.id)
        await notifications.notify(db, runtime, user=owner, kind=MailKind.ALREADY_REGISTERED)
    elif user is not None:
        await audit.record(db, AuditAction.USER_REGISTERED, actor_id=user.id, subject_id=user.id)
        await link_mails.write(db, runtime, purpose=PURPOSE, user=user, address=address, link=link)


async def create_user(
    db: AsyncSession,
    *,
    address: EmailAddress,
    password_hash: str,
    full_name: str,
    phone: str | None,
    assigned: list[Role],
    locale: str = Locale.EN,
) -> User:
    """Insert an account with its password and roles; raises `EmailTaken`."""
    context = request_context.current()
    user = User(
        email=address.display,
        email_canonical=address.canonical,
        full_name=full_name,
        phone=phone,
        locale=locale,
        registered_ip=context.ip,
        registered_user_agent=context.user_agent,
    )
    await users.add(db, user)
    await password_credentials.add(db, user_id=user.id, password_hash=password_hash)
    await users.replace_roles(db, user, assigned)
    return user


def parse_new_email(runtime: Runtime, email: str, *, field: str = "email") -> EmailAddress:
    """The address of an account to be; raises `InvalidEmail` about that field of the request."""
    try:
        return parse_email(email, allow_special_domains=runtime.settings.email.allow_special_domains)
    except MalformedEmail:
        raise errors.InvalidEmail.of(field) from None
