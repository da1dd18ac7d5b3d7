"""Statistics: how many users there are, and how many come."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import AuditAction
from authapi.principal import Principal
from authapi.repositories import audit_events, roles, users
from authapi.services import admin_trail

_COUNTED = (AuditAction.USER_REGISTERED, AuditAction.USER_LOGIN_SUCCEEDED, AuditAction.USER_LOGIN_FAILED)


@dataclass(frozen=True, slots=True)
class Activity:
    """What happened in a span of time; those who registered are logged in without a login."""

    registrations: int
    logins: int
    failed_logins: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers as of one moment."""

    total_users: int
    active_users: int
    disabled_users: int
    users_by_role: Mapping[str, int]
    last_24_hours: Activity
    last_7_days: Activity


async def read_statistics(db: AsyncSession, principal: Principal) -> Statistics:
    """Count now; the time it takes grows with the users and with a week's events."""
    now = clock.utc_now()
    total, disabled = await users.count_by_status(db)
    statistics = Statistics(
        total_users=total,
        active_users=total - disabled,
        disabled_users=disabled,
        users_by_role=await roles.count_holders(db),
        last_24_hours=await _activity(db, since=now - timedelta(hours=24)),
        last_7_days=await _activity(db, since=now - timedelta(days=7)),
    )
    await admin_trail.record(db, principal, AuditAction.STATISTICS_READ)
    return statistics


async def _activity(db: AsyncSession, *, since: datetime) -> Activity:
    counted = await audit_events.count_since(db, _COUNTED, since=since)
    return Activity(
        registrations=counted[AuditAction.USER_REGISTERED],
        logins=counted[AuditAction.USER_LOGIN_SUCCEEDED],
        failed_logins=counted[AuditAction.USER_LOGIN_FAILED],
    )
