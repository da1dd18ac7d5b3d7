"""Invitations: an administrator opens the door to one address, also where registration is closed."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.database import hand_back_connection
from authapi.emails import EmailAddress
from authapi.enums import AuditAction, MailKind, OneTimeTokenPurpose, Permission
from authapi.models import OneTimeToken, Role
from authapi.principal import Principal
from authapi.repositories import one_time_tokens as token_rows
from authapi.repositories import roles, users
from authapi.runtime import Runtime
from authapi.services import (
    account_deletion,
    admin_trail,
    audit,
    delegation,
    mail_links,
    mail_outbox,
    one_time_tokens,
)
from authapi.services.new_passwords import hash_new_password
from authapi.services.registration import create_user, parse_new_email
from authapi.services.role_assignment import ensure_fits_token, get_roles
from authapi.services.user_sessions import SessionTokens, open_session

PURPOSE = OneTimeTokenPurpose.ACCEPT_INVITATION


async def invite(
    db: AsyncSession,
    runtime: Runtime,
    principal: Principal,
    *,
    email: str,
    role_names: Sequence[str],
    locale: str,
) -> None:
    """Mail a link with which the owner of the address makes an account with these roles.

    It replaces earlier ones. Raises `InvalidEmail`, `EmailTaken`, `UnknownRole`, `CannotGrant`.
    """
    address = parse_new_email(runtime, email)
    delegator = await delegation.load_delegator(db, principal, Permission.USERS_WRITE)
    await delegation.ensure_may_grant(db, delegator, await get_roles(db, role_names))
    if await users.find_by_email(db, email_canonical=address.canonical):
        raise errors.EmailTaken
    await token_rows.void_invitations(db, email_canonical=address.canonical, now=clock.utc_now())
    token = await one_time_tokens.issue(
        db,
        runtime,
        purpose=PURPOSE,
        user_id=None,
        data={
            "email": address.display,
            "email_canonical": address.canonical,
            "roles": list(role_names),
            "locale": locale,
            "inviter_id": str(principal.user_id),
        },
    )
    await mail_outbox.enqueue(
        db,
        runtime,
        kind=MailKind.INVITATION,
        to=address.display,
        recipient_canonical=address.canonical,
        locale=locale,
        user_id=None,
        context={
            "link": mail_links.link(runtime, mail_links.ACCEPT_INVITATION, token=token),
            "lifetime": runtime.settings.one_time_token.invitation_lifetime,
        },
    )
    await admin_trail.record(db, principal, AuditAction.USER_INVITED, details={"roles": list(role_names)})


async def accept(
    db: AsyncSession, runtime: Runtime, *, token: str, password: str, full_name: str
) -> SessionTokens:
    """Make the account that an invitation is for and log it in; its address is verified by the link.

    An unverified account that somebody else has made with the address gives way. Raises `InvalidOneTimeToken`,
    also when the inviter could not invite to these roles any more, `WeakPassword`, `EmailTaken`, `HashingBusy`.
    """
    # Read the token first and consume it last: a password that is refused must not use up the invitation.
    found = await one_time_tokens.find(db, purpose=PURPOSE, token=token)
    address = EmailAddress(found.data["email"], found.data["email_canonical"])
    await hand_back_connection(db)
    password_hash = await hash_new_password(runtime, password, email=address.display, full_name=full_name)
    consumed = await one_time_tokens.consume(db, purpose=PURPOSE, token=token)
    await account_deletion.make_room(db, runtime, email_canonical=address.canonical)
    await roles.hold_rights(db)
    assigned = await roles.find_by_names(db, consumed.data["roles"])
    await _ensure_inviter_can_grant(db, consumed, assigned)
    user = await create_user(
        db,
        address=address,
        password_hash=password_hash,
        full_name=full_name,
        phone=None,
        assigned=assigned,
        locale=consumed.data["locale"],
    )
    await ensure_fits_token(db, user_id=user.id)
    user.email_verified_at = clock.utc_now()
    await users.save_changes(db)
    tokens = await open_session(db, runtime, user=user, amr=["pwd"])
    await audit.record(
        db,
        AuditAction.USER_REGISTERED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=tokens.user_session.id,
        details={"invited": True},
    )
    return tokens


async def _ensure_inviter_can_grant(db: AsyncSession, invitation: OneTimeToken, assigned: list[Role]) -> None:
    # One that does not name its inviter is from a release before this rule.
    inviter_id = invitation.data.get("inviter_id")
    inviter = await users.find_by_id(db, UUID(inviter_id)) if inviter_id else None
    if inviter is None or not delegation.can_grant(inviter, assigned, by=Permission.USERS_WRITE):
        raise errors.InvalidOneTimeToken("the inviter may not grant these roles any more")
