"""`authapi mail`: the outbox."""

import asyncio
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import typer

from authapi.commands import output
from authapi.commands.environment import open_runtime, prepare_settings
from authapi.commands.failures import CommandFailed
from authapi.enums import MailState
from authapi.settings import Settings

COLUMNS = ("id", "state", "kind", "recipient", "created_at", "attempts", "next_attempt_at", "last_error")

app = typer.Typer(help="The outbox.", no_args_is_help=True)


@app.command("list")
def list_mails(
    state: Annotated[MailState | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 100,
) -> None:
    """List mails, the latest first: a table, or lines with tabs if not on a terminal."""
    output.table(COLUMNS, asyncio.run(_list(prepare_settings(), state=state, limit=limit)))


@app.command()
def retry(
    mail_id: Annotated[UUID | None, typer.Argument(metavar="[ID]", help="As in the list.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that are dead or wait for their next attempt.")
    ] = False,
) -> None:
    """Send a mail again that could not be sent, or all of them; the running service does it within a second.

    A mail is dead once the server refused it for good, or after 48 hours of attempts.
    """
    if (mail_id is None) is not everything:
        raise typer.BadParameter("give either an ID or --all")
    ids = None if mail_id is None else [mail_id]
    retried = asyncio.run(_retry(prepare_settings(), ids=ids))
    if mail_id is not None and not retried:
        raise CommandFailed("there is no such mail, or it was sent, or it is being sent now")
    output.note(f"{len(retried)} mails will be tried again.")


async def _list(settings: Settings, *, state: MailState | None, limit: int) -> list[tuple[str, ...]]:
    from authapi.services import mail_administration

    async with open_runtime(settings) as runtime, runtime.database.reading() as db:
        return [
            (
                str(mail.id),
                mail.state,
                mail.kind,
                mail.recipient,
                mail.created_at.isoformat(timespec="seconds"),
                str(mail.attempts),
                "" if mail.sent_at else mail.next_attempt_at.isoformat(timespec="seconds"),
                mail.last_error or "",
            )
            for mail in await mail_administration.list_mails(db, state=state, limit=limit)
        ]


async def _retry(settings: Settings, *, ids: Sequence[UUID] | None) -> Sequence[UUID]:
    from authapi.services import mail_administration

    async with open_runtime(settings) as runtime, runtime.database.unit_of_work() as db:
        return await mail_administration.retry(db, ids=ids)
