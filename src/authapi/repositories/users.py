"""Users and the roles assigned to them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, any_, bindparam, cast, delete, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, raiseload

from authapi import clock, errors
from authapi.enums import BuiltInRole, UserSort, UserStatus
from authapi.models import KnownDevice, Role, User, UserSession, user_roles
from authapi.models.base import table_of
from authapi.repositories import planning, user_search, user_sessions
from authapi.repositories.dialect import is_postgresql, split_list
from authapi.repositories.pagination import Keyset, Page, list_id, read_page
from authapi.repositories.planning import Count, count, plan_for_these_values

# Put together once, like every statement of a refresh.
_BY_ID = (
    select(User)
    .where(User.id == bindparam("user_id"))
    .options(joinedload(User.roles).joinedload(Role.permissions))
)
_BY_IDS = (
    select(User)
    .where(User.id == any_(cast(split_list("user_ids"), ARRAY(Uuid))))
    .options(joinedload(User.roles).joinedload(Role.permissions))
)
_USERS = table_of(User)
_COUNT_HELD = select(
    select(func.count())
    .where(UserSession.user_id == bindparam("user_id"), *user_sessions.is_live(user_sessions.NOW))
    .scalar_subquery(),
    select(func.count()).where(KnownDevice.user_id == bindparam("user_id")).scalar_subquery(),
)
_LOCK = select(_USERS.c.id).where(_USERS.c.id == bindparam("user_id")).with_for_update()


async def find_by_email(db: AsyncSession, *, email_canonical: str) -> User | None:
    """The account of a canonical address."""
    return await db.scalar(select(User).where(User.email_canonical == email_canonical))


async def find_bare_by_email(db: AsyncSession, *, email_canonical: str) -> User | None:
    """The account of a canonical address without its roles, which must not be asked for.

    One statement whether or not there is one: the roles of a known account would show in the time.
    """
    statement = select(User).where(User.email_canonical == email_canonical)
    return await db.scalar(statement.options(raiseload(User.roles)))


async def find_by_id(db: AsyncSession, user_id: UUID) -> User | None:
    """The account with its roles and their permissions, as the database has them now.

    One statement: it stands in every refresh, and each round trip would take as long as the rest.
    """
    found = await db.scalars(_BY_ID, {"user_id": user_id}, execution_options={"populate_existing": True})
    return found.unique().one_or_none()


async def find_all_by_id(db: AsyncSession, user_ids: Collection[UUID]) -> dict[UUID, User]:
    """The same for several accounts, by their ids; for PostgreSQL."""
    if not user_ids:
        return {}
    found = await db.scalars(_BY_IDS, {"user_ids": ",".join(map(str, user_ids))})
    return {user.id: user for user in found.unique()}


@dataclass(frozen=True, slots=True)
class Held:
    """How much of what is capped a user has: sessions that have not ended, known devices."""

    live_sessions: int
    devices: int


async def count_held(db: AsyncSession, user_id: UUID, *, now: datetime) -> Held:
    """Count both in one statement, as it stands in every login; the caller holds the lock on the user's row."""
    return Held(*(await db.execute(_COUNT_HELD, {"user_id": user_id, "now": now})).one())


async def lock(db: AsyncSession, user_id: UUID) -> None:
    """Lock the account's row until the transaction ends; other changes of the account wait for it."""
    await db.execute(_LOCK, {"user_id": user_id})


async def find_for_update(db: AsyncSession, user_id: UUID) -> User | None:
    """The account, locked until the transaction ends, so that no other change slips in between."""
    await lock(db, user_id)
    # Lock and read in two statements: one that waits for a lock returns joined rows as of before the wait.
    return await find_by_id(db, user_id)


async def add(db: AsyncSession, user: User) -> None:
    """Insert an account; raises `EmailTaken` if the address has one, also when a race decided it."""
    db.add(user)
    try:
        await db.flush()
    except IntegrityError:
        raise errors.EmailTaken from None


async def replace_roles(db: AsyncSession, user: User, roles: Iterable[Role]) -> None:
    """Assign exactly these roles."""
    await db.execute(delete(user_roles).where(user_roles.c.user_id == user.id))
    now = clock.utc_now()
    rows = [{"user_id": user.id, "role_id": role.id, "assigned_at": now} for role in roles]
    if rows:
        await db.execute(insert(user_roles), rows)
    await db.refresh(user, ["roles"])


async def find_other_active_admin(db: AsyncSession, user_id: UUID) -> UUID | None:
    """An active administrator besides this user.

    Concurrent calls run one after the other until the transaction ends: of two administrators who leave at once,
    the second must not count on the first. Lock the user's row before, never after, or two transactions deadlock.
    """
    admin_role = select(Role.id).where(Role.name == BuiltInRole.ADMIN).with_for_update(key_share=True)
    admin_role_id = await db.scalar(admin_role)
    # A generic plan does not know the role's id, and assumes that a third of all users have it.
    await plan_for_these_values(db)
    return await db.scalar(
        select(User.id)
        .join(user_roles, user_roles.c.user_id == User.id)
        .where(
            user_roles.c.role_id == admin_role_id,
            User.id != user_id,
            User.disabled_at.is_(None),
            User.deleted_at.is_(None),
        )
        .limit(1)
    )


async def remove(db: AsyncSession, user_id: UUID) -> None:
    """Delete an account; its password, sessions and roles go with it."""
    await db.execute(delete(User).where(User.id == user_id))


async def list_page(
    db: AsyncSession,
    *,
    email_part: str,
    name_part: str,
    role: str | None,
    status: UserStatus | None,
    sort: UserSort,
    cursor: str | None,
    limit: int,
) -> Page[User]:
    """Accounts whose canonical address or name key has a part (`user_search.match`); raises `InvalidCursor`.

    Deleted ones that still wait to be erased are left out unless `status` asks for them.
    """
    statement = select(User)
    if status is not UserStatus.DELETED:
        statement = statement.where(User.deleted_at.is_(None))
    await plan_for_these_values(db)
    are_few = False
    if email_part or name_part:
        has_email = await user_search.match(db, User.email_canonical, email_part)
        has_name = await user_search.match(db, User.full_name_key, name_part)
        statement = statement.where(has_email | has_name)
        are_few = await planning.are_few(
            db,
            # In the order of its column each reads no more than it counts.
            select(User.email_canonical).where(has_email).order_by(User.email_canonical),
            select(User.full_name_key).where(has_name).order_by(User.full_name_key),
        )
    if role is not None:
        # By id, of which the planner knows how many users have it; the name of a role tells it nothing.
        role_id = await db.scalar(select(Role.id).where(Role.name == role))
        holders = select(user_roles.c.user_id).where(user_roles.c.role_id == role_id)
        has_few = await planning.are_few(db, holders)
        are_few = are_few or has_few
        if has_few or not is_postgresql(db):
            statement = statement.where(User.id.in_(holders))
        else:
            # Asked of each user who fits otherwise, never the other way round.
            of_user = holders.where(user_roles.c.user_id == User.id).scalar_subquery()
            statement = statement.where(of_user.is_not(None))
    if status in {UserStatus.DISABLED, UserStatus.DELETED}:
        since = User.disabled_at if status is UserStatus.DISABLED else User.deleted_at
        statement = statement.where(since.is_not(None))
        are_few = are_few or await planning.are_few(db, select(since).where(since.is_not(None)))
    elif status is UserStatus.ACTIVE:
        statement = statement.where(User.disabled_at.is_(None))
    by_email = sort in {UserSort.EMAIL, UserSort.EMAIL_DESC}
    keyset = Keyset(
        list_id=list_id("users", q=[email_part, name_part], role=role, status=status, sort=sort),
        columns=[User.email_canonical] if by_email else [User.created_at, User.id],
        descending=sort.startswith("-"),
        are_few=are_few,
    )
    return await read_page(db, statement, keyset=keyset, cursor=cursor, limit=limit)


async def save_changes(db: AsyncSession) -> None:
    """Write changes of accounts; raises `EmailTaken` if another one has the new address."""
    try:
        await db.flush()
    except IntegrityError:
        raise errors.EmailTaken from None


async def count_by_status(db: AsyncSession) -> tuple[Count, Count]:
    """How many accounts there are, and how many of them are disabled; many are estimated."""
    present = select(User.id).where(User.deleted_at.is_(None))
    return await count(db, present), await count(db, present.where(User.disabled_at.is_not(None)))


async def count_exactly(db: AsyncSession) -> int:
    """How many accounts there are; reads them all."""
    counted = select(func.count()).select_from(User).where(User.deleted_at.is_(None))
    return await db.scalar(counted) or 0


async def hold_deleted(db: AsyncSession, *, before: datetime, limit: int) -> Sequence[UUID]:
    """Accounts deleted before an instant, the oldest first, locked; those that are locked already are skipped.

    So an administrator who restores one of them either was first, or waits and finds it gone.
    """
    statement = select(User.id).where(User.deleted_at < before).order_by(User.deleted_at).limit(limit)
    return (await db.scalars(statement.with_for_update(skip_locked=True))).all()
