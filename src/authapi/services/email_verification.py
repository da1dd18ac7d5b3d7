"""E-mail verification: the owner of an address confirms its account, or removes one that a stranger made."""

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import AuditAction, OneTimeTokenPurpose, Outcome, RevocationReason
from authapi.models import User
from authapi.repositories import one_time_tokens as token_rows
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import audit, link_mails, revocation

PURPOSE = OneTimeTokenPurpose.VERIFY_EMAIL


async def find_account(db: AsyncSession, *, token: str) -> User:
    """The account that a token decides about, for a page that asks first; raises `InvalidOneTimeToken`."""
    return await link_mails.find_account(db, purpose=PURPOSE, token=token)


async def verify(db: AsyncSession, *, token: str) -> User:
    """Mark the address of an account as its owner's; nobody is logged in or out by it.

    Raises `InvalidOneTimeToken`.
    """
    user = await link_mails.consume(db, purpose=PURPOSE, token=token)
    user.email_verified_at = user.email_verified_at or clock.utc_now()
    await users.save_changes(db)
    await token_rows.void_all(db, user_id=user.id, now=clock.utc_now(), purposes={PURPOSE})
    await audit.record(db, AuditAction.USER_EMAIL_VERIFIED, actor_id=user.id, subject_id=user.id)
    return user


async def disown(db: AsyncSession, runtime: Runtime, *, token: str) -> None:
    """Remove an unverified account, with its sessions, for the owner of its address.

    Raises `InvalidOneTimeToken`, also once the account is verified: then it is somebody's.
    """
    user = await link_mails.consume(db, purpose=PURPOSE, token=token)
    if user.email_verified:
        raise errors.InvalidOneTimeToken("the account is verified")
    await revocation.revoke_user_sessions(db, runtime, user_id=user.id, reason=RevocationReason.USER_DELETED)
    await users.remove(db, user.id)
    await audit.record(db, AuditAction.USER_DISOWNED, subject_id=user.id)


async def resend(db: AsyncSession, runtime: Runtime, *, email: str) -> None:
    """Mail another link to an unverified account; the same work and answer for every other address.

    Raises `InvalidEmail` for what is no address.
    """
    address = link_mails.parse_address(email)
    user = await users.find_bare_by_email(db, email_canonical=address.canonical)
    waits = user is not None and user.is_active and not user.email_verified
    await audit.record(
        db,
        AuditAction.USER_EMAIL_VERIFICATION_REQUESTED,
        outcome=Outcome.SUCCESS if waits else Outcome.FAILURE,
        reason=None if waits else "nothing_to_verify",
        subject_id=user.id if user else None,
    )
    await link_mails.offer(db, runtime, purpose=PURPOSE, user=user if waits else None, address=address)
