"""Account deletion: a user deletes their account, after giving the password once more."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import AuditAction, BuiltInRole, MailKind, OneTimeTokenPurpose, RevocationReason
from authapi.models import User
from authapi.principal import Principal
from authapi.repositories import one_time_tokens, users
from authapi.runtime import Runtime
from authapi.services import audit, audit_chain, notifications, revocation
from authapi.services.one_time_tokens import ALL_BUT_WAYS_BACK
from authapi.services.password_check import check_password_of_caller
from authapi.services.role_assignment import spare_last_admin


async def delete_own_account(
    db: AsyncSession, runtime: Runtime, *, principal: Principal, password: str
) -> None:
    """Delete the caller's account: for now softly, so that an administrator can bring it back (ASVS 7.4.2).

    Nobody can log in, the address is free for a new account, and after the grace everything is erased. Raises
    `InvalidAccessToken` for an account that is gone or disabled, `InvalidCredentials`, `LastAdmin`,
    `TooManyAttempts`, `HashingBusy`.
    """
    user = await check_password_of_caller(
        db, runtime, principal=principal, password=password, action=AuditAction.USER_DELETION_REFUSED
    )
    await spare_last_admin(db, user)
    await notifications.notify(db, runtime, user=user, kind=MailKind.ACCOUNT_DELETED)
    await mark_deleted(db, runtime, user=user, actor_id=user.id)
    await audit.record(
        db,
        AuditAction.USER_DELETED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=principal.user_session_id,
    )


async def mark_deleted(db: AsyncSession, runtime: Runtime, *, user: User, actor_id: UUID) -> None:
    """Take an account out of use and free its address; the caller holds the lock on its row."""
    now = clock.utc_now()
    await revocation.revoke_user_sessions(
        db, runtime, user_id=user.id, reason=RevocationReason.USER_DELETED, actor_id=actor_id
    )
    # An attacker who changed the address may also delete the account: the owner's undo link must survive that.
    purposes = ALL_BUT_WAYS_BACK if actor_id == user.id else frozenset(OneTimeTokenPurpose)
    await one_time_tokens.void_all(db, user_id=user.id, now=now, purposes=purposes)
    user.deleted_at = now
    # .invalid is reserved (RFC 6761): no address of a person is ever equal to it.
    user.email_canonical = f"{user.id}@deleted.invalid"
    await users.save_changes(db)


async def make_room(db: AsyncSession, runtime: Runtime, *, email_canonical: str) -> None:
    """Delete the unverified account that occupies an address whose owner has just proved control of it.

    An account that was verified, or that has more than the role `user`, stays. The deletion is soft, so that an
    administrator, who may have made the account, can bring it back.
    """
    squatter = await users.find_by_email(db, email_canonical=email_canonical)
    if squatter is None:
        return
    # Lock it and look again: it may have been verified since it was read.
    squatter = await users.find_for_update(db, squatter.id)
    if (
        squatter is not None
        and squatter.email_canonical == email_canonical
        and not squatter.email_verified
        and set(squatter.role_names) <= {BuiltInRole.USER}
    ):
        await mark_deleted(db, runtime, user=squatter, actor_id=squatter.id)
        await audit.record(db, AuditAction.USER_DISOWNED, subject_id=squatter.id)


async def erase(db: AsyncSession, *, user_id: UUID) -> None:
    """Remove an account and all that hangs on it; its events stay, without what tells who it was."""
    await audit_chain.anonymise(db, user_id=user_id)
    await users.remove(db, user_id)
    await audit.record(db, AuditAction.USER_ERASED, subject_id=user_id)


async def erase_due(db: AsyncSession, runtime: Runtime, *, limit: int) -> int:
    """Erase accounts whose grace is over; returns how many."""
    before = clock.utc_now() - runtime.settings.account.deletion_grace
    due = await users.hold_deleted(db, before=before, limit=limit)
    for user_id in due:
        await erase(db, user_id=user_id)
    return len(due)
