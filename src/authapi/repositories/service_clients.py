"""Service clients, and the users' sessions that were opened through them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from authapi.models import ServiceClient, UserSession


async def add(db: AsyncSession, client: ServiceClient) -> None:
    """Insert a client."""
    db.add(client)
    await db.flush()


async def find_by_client_id(db: AsyncSession, client_id: str) -> ServiceClient | None:
    """The client as the database has it now, revoked or not."""
    statement = select(ServiceClient).where(ServiceClient.client_id == client_id)
    return await db.scalar(statement.execution_options(populate_existing=True))


async def find_for_update(db: AsyncSession, client_id: str) -> ServiceClient | None:
    """The client, revoked or not, locked until the transaction ends."""
    statement = select(ServiceClient).where(ServiceClient.client_id == client_id).with_for_update()
    return await db.scalar(statement.execution_options(populate_existing=True))


async def hold_active(db: AsyncSession, client_id: str) -> bool:
    """Whether the client is not revoked; it cannot be until the transaction ends."""
    statement = select(ServiceClient.id).where(
        ServiceClient.client_id == client_id, ServiceClient.revoked_at.is_(None)
    )
    return await db.scalar(statement.with_for_update(read=True)) is not None


async def list_all(db: AsyncSession) -> list[ServiceClient]:
    """Every client, the oldest first."""
    return list(await db.scalars(select(ServiceClient).order_by(ServiceClient.id)))


async def list_sessions(
    db: AsyncSession, client_id: str, *, expired_before: datetime
) -> Sequence[tuple[UUID, UUID]]:
    """User id and session id of the client's sessions that have not ended, nor expired before an instant.

    Sorted by session, as all who lock several sessions lock them.
    """
    rows = await db.execute(
        select(UserSession.user_id, UserSession.id)
        .where(
            UserSession.client_id == client_id,
            UserSession.revoked_at.is_(None),
            UserSession.expires_at > expired_before,
        )
        .order_by(UserSession.id)
    )
    return [(user_id, user_session_id) for user_id, user_session_id in rows]
