"""User export: every account as a document that an import takes, page by page."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from authapi.enums import AuditAction
from authapi.models import User
from authapi.repositories import user_batches, users
from authapi.runtime import Runtime
from authapi.services import audit
from authapi.services.user_files import FIELDS

PAGE = 1000
HASH_FIELD = "password_hash"


def exported_fields(*, include_password_hashes: bool) -> list[str]:
    """The fields of a document, in their order."""
    return [name for name in FIELDS if include_password_hashes or name != HASH_FIELD]


async def count_users(runtime: Runtime) -> int:
    """How many accounts an export has, now."""
    async with runtime.database.reading() as db:
        return await users.count_exactly(db)


async def export_users(
    runtime: Runtime, *, include_password_hashes: bool
) -> AsyncGenerator[Sequence[dict[str, Any]], None]:
    """Pages of documents in the order of addresses; deleted accounts are left out.

    Hashes let whoever reads the file guess passwords at leisure: ask for them only to move. The event is on
    record before the first page is.
    """
    async with runtime.database.unit_of_work() as db:
        details = {"password_hashes": include_password_hashes, "origin": "command_line"}
        await audit.record(db, AuditAction.USER_EXPORTED, details=details)
    position = ""
    while True:
        async with runtime.database.reading() as db:
            page = await user_batches.read_on(db, after=position, limit=PAGE)
            asked_for = [user.id for user in page] if include_password_hashes else []
            hashes = await user_batches.find_hashes_confidential(db, asked_for)
        if not page:
            return
        position = page[-1].email_canonical
        documents = [_as_document(user) for user in page]
        if include_password_hashes:
            for user, document in zip(page, documents, strict=True):
                document[HASH_FIELD] = hashes.get(user.id)
        yield documents


def _as_document(user: User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "email": user.email,
        "full_name": user.full_name,
        "phone": user.phone,
        "locale": user.locale,
        "discoverable": user.discoverable,
        "email_verified": user.email_verified,
        "roles": list(user.role_names),
        "disabled": user.disabled_at is not None,
        "created_at": user.created_at.isoformat(),
    }
