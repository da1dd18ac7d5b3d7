"""Tokens that a mail carries: issued for one purpose, consumed once, replaced by a newer one."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock, errors
from authapi.enums import OneTimeTokenPurpose
from authapi.models import OneTimeToken
from authapi.repositories import one_time_tokens
from authapi.runtime import Runtime
from authapi.security import opaque_tokens

PREFIX = "authapi_ott_"
# Issued during a session, or between password and code of a login; they are voided when the user's sessions end.
BEGUN_IN_SESSIONS = frozenset({OneTimeTokenPurpose.CHANGE_EMAIL, OneTimeTokenPurpose.LOGIN_SECOND_FACTOR})
# Each undoes another change of address, and may be the owner's only way back after a takeover: neither a later one
# nor a new password voids it.
WAYS_BACK = frozenset({OneTimeTokenPurpose.UNDO_EMAIL_CHANGE})
ALL_BUT_WAYS_BACK = frozenset(OneTimeTokenPurpose) - WAYS_BACK
SECOND_FACTOR_LIFETIME = timedelta(minutes=5)


async def issue(
    db: AsyncSession,
    runtime: Runtime,
    *,
    purpose: OneTimeTokenPurpose,
    user_id: UUID | None,
    data: dict[str, Any] | None = None,
) -> str:
    """A new token; the user's earlier ones of the same purpose die (ASVS 6.4.1, 6.4.3), unless they are ways back.

    Only its digest is stored. `data` says what consuming it will do and must hold no secret.
    """
    now = clock.utc_now()
    if user_id is not None and purpose not in WAYS_BACK:
        await one_time_tokens.void_all(db, user_id=user_id, now=now, purposes={purpose})
    raw, digest = opaque_tokens.generate(PREFIX)
    await one_time_tokens.add(
        db,
        OneTimeToken(
            purpose=purpose,
            token_hash=digest,
            user_id=user_id,
            data=data or {},
            expires_at=now + lifetime_of(runtime, purpose),
        ),
    )
    return raw


async def find(db: AsyncSession, *, purpose: OneTimeTokenPurpose, token: str) -> OneTimeToken:
    """Look at a token without consuming it, for a page that asks first; raises `InvalidOneTimeToken`."""
    found = await one_time_tokens.find_valid(
        db, purpose=purpose, token_hash=opaque_tokens.digest(token), now=clock.utc_now()
    )
    if found is None:
        raise errors.InvalidOneTimeToken
    return found


async def consume(db: AsyncSession, *, purpose: OneTimeTokenPurpose, token: str) -> OneTimeToken:
    """Use a token up, once; raises `InvalidOneTimeToken`, alike for whatever is wrong with it."""
    consumed = await one_time_tokens.consume(
        db, purpose=purpose, token_hash=opaque_tokens.digest(token), now=clock.utc_now()
    )
    if consumed is None:
        raise errors.InvalidOneTimeToken
    return consumed


def lifetime_of(runtime: Runtime, purpose: OneTimeTokenPurpose) -> timedelta:
    """How long a token of this purpose is good."""
    settings = runtime.settings.one_time_token
    return {
        OneTimeTokenPurpose.VERIFY_EMAIL: settings.verify_lifetime,
        OneTimeTokenPurpose.RESET_PASSWORD: settings.reset_lifetime,
        OneTimeTokenPurpose.CHANGE_EMAIL: settings.change_lifetime,
        OneTimeTokenPurpose.UNDO_EMAIL_CHANGE: settings.undo_lifetime,
        OneTimeTokenPurpose.ACCEPT_INVITATION: settings.invitation_lifetime,
        OneTimeTokenPurpose.LOGIN_SECOND_FACTOR: SECOND_FACTOR_LIFETIME,
    }[purpose]
