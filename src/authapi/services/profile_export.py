"""Data export: everything that is stored about a user, for the user."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import AuditAction
from authapi.models.base import Base
from authapi.principal import Principal
from authapi.repositories import user_data
from authapi.services import audit, authorization

# Proofs and keys are about the service, not about the person, and would be dangerous in a file.
SECRET_COLUMNS = frozenset(
    {
        "password_hash",
        "sealed_secret",
        "code_hash",
        "token_hash",
        "sealed_message",
        "chain_hash",
        "personal_hash",
    }
)


async def export_data(db: AsyncSession, *, principal: Principal) -> dict[str, Any]:
    """The caller's rows of every table, by table; hashes and encrypted secrets are left out.

    Raises `InvalidAccessToken`.
    """
    user = await authorization.get_active_user(db, principal)
    document: dict[str, Any] = {"exported_at": clock.utc_now().isoformat(), "roles": list(user.role_names)}
    for table, rows in (await user_data.collect(db, user_id=user.id)).items():
        document[table] = [_as_document(row) for row in rows]
    await audit.record(
        db,
        AuditAction.USER_DATA_EXPORTED,
        actor_id=user.id,
        subject_id=user.id,
        user_session_id=principal.user_session_id,
    )
    return document


def _as_document(row: Base) -> dict[str, Any]:
    return {
        column.key: _plain(getattr(row, column.key))
        for column in row.__table__.columns
        if column.key not in SECRET_COLUMNS
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
