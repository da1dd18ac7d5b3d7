"""Rotates refresh tokens that come at the same time in one transaction, which PostgreSQL commits once."""

from functools import partial

from authapi import clock
from authapi.repositories import user_sessions, users
from authapi.repositories.user_sessions import RotatedSession, Rotation
from authapi.runtime import Runtime


async def rotate_together(runtime: Runtime, rotation: Rotation) -> RotatedSession | None:
    """Rotate a session together with others, and read its owner after it; both are committed.

    None if the caller has to look by itself: the session is not at that generation, has ended, belongs to another
    client or is locked by somebody, its owner is gone or disabled, or the database is SQLite, which has one
    writer at a time and nothing to gain. Raises what the database raises.
    """
    if runtime.database.is_sqlite:
        return None
    return await runtime.rotations.join(rotation, partial(_rotate_all, runtime))


async def _rotate_all(runtime: Runtime, rotations: list[Rotation]) -> list[RotatedSession | None]:
    # Of several uses of one session's tokens the first one is tried; the others are judged after it.
    first = {rotation.user_session_id: rotation for rotation in reversed(rotations)}
    now = clock.utc_now()
    async with runtime.database.unit_of_work(bounded=True) as db:
        rotated = await user_sessions.rotate_all(
            db,
            list(first.values()),
            now=now,
            idle_expires_at=now + runtime.settings.refresh_token.idle_lifetime,
        )
        # Read after the sessions' rows are updated, as in a single refresh: a change of rights is either seen here,
        # or finds the new `last_used_at` and voids the token.
        owners = await users.find_all_by_id(db, {user_session.user_id for user_session in rotated})
    found = {
        user_session.id: RotatedSession(user_session, owner)
        for user_session in rotated
        if (owner := owners.get(user_session.user_id)) is not None and owner.is_active
    }
    return [
        found.get(rotation.user_session_id) if rotation is first[rotation.user_session_id] else None
        for rotation in rotations
    ]
