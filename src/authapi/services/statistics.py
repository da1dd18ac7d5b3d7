"""Statistics: how many users there are, and how many come."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import AuditAction
from authapi.principal import Principal
from authapi.repositories import audit_events, roles, users
from authapi.repositories.planning import Count
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
    # True if any number is an estimate (possible only above `planning.EXACT_UP_TO`).
    estimated: bool


async def read_statistics(db: AsyncSession, principal: Principal) -> Statistics:
    """Count users and events: exactly up to `planning.EXACT_UP_TO` rows, estimated beyond.

    So the cost stays bounded however many users there are.
    """
    now = clock.utc_now()
    total, disabled = await users.count_by_status(db)
    by_role = await roles.count_holders(db)
    last_day = await _count_activity(db, since=now - timedelta(hours=24))
    last_week = await _count_activity(db, since=now - timedelta(days=7))
    await admin_trail.record(db, principal, AuditAction.STATISTICS_READ)
    counts = (total, disabled, *by_role.values(), *last_day.values(), *last_week.values())
    return Statistics(
        total_users=total.number,
        # Two estimates need not fit each other.
        active_users=max(0, total.number - disabled.number),
        disabled_users=disabled.number,
        users_by_role={name: count.number for name, count in by_role.items()},
        last_24_hours=_activity(last_day),
        last_7_days=_activity(last_week),
        estimated=any(count.is_estimate for count in counts),
    )


async def _count_activity(db: AsyncSession, *, since: datetime) -> dict[AuditAction, Count]:
    return {action: await audit_events.count_since(db, action, since=since) for action in _COUNTED}


def _activity(counts: Mapping[AuditAction, Count]) -> Activity:
    return Activity(
        registrations=counts[AuditAction.USER_REGISTERED].number,
        logins=counts[AuditAction.USER_LOGIN_SUCCEEDED].number,
        failed_logins=counts[AuditAction.USER_LOGIN_FAILED].number,
    )
