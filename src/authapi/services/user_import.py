"""User import: accounts of another system, with the password hashes that it has stored.

Nobody needs a new password: the hashes of other systems are verified as they are and replaced at the next
login. An address that has an account is skipped, so an import that was interrupted is simply run again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.enums import AuditAction
from authapi.models import Role
from authapi.repositories import roles, user_batches
from authapi.runtime import Runtime
from authapi.services import audit
from authapi.services.imported_user import ImportedUser, LineRefused, check_user
from authapi.services.role_assignment import MAX_CLAIM_BYTES
from authapi.services.user_files import Line

BATCH = 500
# The same batch again, after somebody else has just taken one of its addresses.
ATTEMPTS = 3


@dataclass(slots=True)
class ImportReport:
    """How many lines became users, had an account already, or were refused and why."""

    imported: int = 0
    skipped: int = 0
    rejected: int = 0
    reasons: dict[int, str] = field(default_factory=dict)

    def add(self, other: "ImportReport") -> None:
        """Count another batch; its reasons are not kept."""
        self.imported += other.imported
        self.skipped += other.skipped
        self.rejected += other.rejected


Checked = dict[int, ImportedUser]
"""What is to be imported, by the number of its line."""


async def import_users(
    runtime: Runtime,
    lines: Iterable[Line],
    *,
    dry_run: bool = False,
    on_batch: Callable[[ImportReport], None],
) -> ImportReport:
    """Make accounts of lines, in transactions of 500; returns the counts.

    `on_batch` is called after each with its own report, which alone holds the reasons by line number.
    `dry_run` checks everything and writes nothing. Whoever imports may give any role.
    """
    total = ImportReport()
    seen: set[str] = set()
    for batch in _batches(lines):
        report = ImportReport()
        checked = _check(runtime, batch, report)
        if dry_run:
            # Nothing is written that the next batch would find.
            report.skipped += _drop(checked, lambda user: user.email_canonical in seen)
            seen.update(user.email_canonical for user in checked.values())
        if checked:
            await _import(runtime, checked, report, dry_run=dry_run)
        report.rejected = len(report.reasons)
        total.add(report)
        on_batch(report)
    return total


def _batches(lines: Iterable[Line]) -> Iterator[Sequence[Line]]:
    iterator = iter(lines)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _check(runtime: Runtime, batch: Sequence[Line], report: ImportReport) -> Checked:
    checked: Checked = {}
    emails: set[str] = set()
    for line in batch:
        try:
            if line.problem is not None:
                raise LineRefused(line.problem)
            user = check_user(runtime, line.values)
        except LineRefused as refused:
            report.reasons[line.number] = str(refused)
            continue
        if user.email_canonical in emails:
            report.skipped += 1
        else:
            emails.add(user.email_canonical)
            checked[line.number] = user
    return checked


async def _import(runtime: Runtime, checked: Checked, report: ImportReport, *, dry_run: bool) -> None:
    database = runtime.database
    attempts = ATTEMPTS
    while True:
        remaining, found = dict(checked), ImportReport()
        context: AbstractAsyncContextManager[AsyncSession] = (
            database.reading() if dry_run else database.unit_of_work()
        )
        try:
            async with context as db:
                await _sort_out(db, remaining, found, dry_run=dry_run)
                if remaining and not dry_run:
                    await _insert(db, list(remaining.values()))
        except IntegrityError:
            attempts -= 1
            if not attempts:
                raise
        else:
            report.imported += len(remaining)
            report.skipped += found.skipped
            report.reasons |= found.reasons
            return


async def _sort_out(db: AsyncSession, checked: Checked, report: ImportReport, *, dry_run: bool) -> None:
    """Leave in `checked` what can be inserted."""
    if not dry_run:
        # A role that is deleted or grows meanwhile waits.
        await roles.hold_rights(db)
    emails = [user.email_canonical for user in checked.values()]
    taken = await user_batches.find_taken_emails(db, emails)
    report.skipped += _drop(checked, lambda user: user.email_canonical in taken)
    ids = await user_batches.find_taken_ids(db, [user.id for user in checked.values()])
    known = await _known_roles(db, checked)
    for number, user in list(checked.items()):
        unknown = sorted(user.role_names - known.keys())
        if user.id in ids:
            report.reasons[number] = "id: belongs to another account"
        elif unknown:
            report.reasons[number] = "roles: there is no such role; create it first"
        elif _claim_size([known[name] for name in user.role_names]) > MAX_CLAIM_BYTES:
            report.reasons[number] = "roles: are too many for an access token"
        else:
            # Of two lines with one id, the second finds it taken.
            ids.add(user.id)
    for number in report.reasons:
        del checked[number]


async def _known_roles(db: AsyncSession, checked: Checked) -> dict[str, Role]:
    names = {name for user in checked.values() for name in user.role_names}
    return {role.name: role for role in await roles.find_by_names(db, sorted(names))}


async def _insert(db: AsyncSession, users: Sequence[ImportedUser]) -> None:
    now = clock.utc_now()
    known = await _known_roles(db, dict(enumerate(users)))
    await user_batches.insert_all(
        db,
        users=[dict(user.row) for user in users],
        password_hashes={user.id: user.password_hash for user in users if user.password_hash},
        assignments=[
            {"user_id": user.id, "role_id": known[name].id, "assigned_at": now}
            for user in users
            for name in user.role_names
        ],
    )
    # One event for all: who was imported shows in the accounts themselves.
    details = {"count": len(users), "origin": "command_line"}
    await audit.record(db, AuditAction.USER_IMPORTED, details=details)


def _claim_size(assigned: Sequence[Role]) -> int:
    """What `roles.claim_size_of_user` would say: bytes of the claims `scope` and `roles`."""
    scopes = {permission.name for role in assigned for permission in role.permissions}
    return sum(len(scope) + 1 for scope in scopes) + sum(len(role.name) + 3 for role in assigned)


def _drop(checked: Checked, is_unwanted: Callable[[ImportedUser], bool]) -> int:
    dropped = [number for number, user in checked.items() if is_unwanted(user)]
    for number in dropped:
        del checked[number]
    return len(dropped)
