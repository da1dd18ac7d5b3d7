"""`authapi audit`: verify and export the audit trail."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from authapi.commands import output
from authapi.commands.environment import open_runtime, prepare_settings
from authapi.commands.failures import ExitCode
from authapi.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from authapi.services.audit_chain import ChainReport

app = typer.Typer(help="The audit trail.", no_args_is_help=True)
FOLLOW_SECONDS = 1.0


@app.command()
def verify() -> None:
    """Check that no event was removed, changed or moved; names the first bad one and exits with 1."""
    report, unsealed = asyncio.run(_verify(prepare_settings()))
    if report.broken is None:
        rest = f"; {unsealed} are not sealed yet: a running service seals them" if unsealed else ""
        output.result(f"{report.checked} events, nothing was touched{rest}")
        return
    broken = report.broken
    what = f"event {broken.event_id}" if broken.event_id else "an event"
    output.error(f"at place {broken.sequence}: {what} was {broken.reason}; {report.checked} before it fit")
    raise typer.Exit(ExitCode.FAILED)


@app.command()
def export(
    since: Annotated[
        str | None, typer.Option("--since", help="Events from this instant on, e.g. 2026-01-31T00:00:00Z.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes in.")] = False,
) -> None:
    """Print events as JSON lines, in the order of the chain."""
    asyncio.run(_export(prepare_settings(), since=_instant(since), follow=follow))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            "write it like 2026-01-31 or 2026-01-31T12:00:00Z", param_hint="--since"
        ) from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


async def _verify(settings: Settings) -> "tuple[ChainReport, str]":
    """What was found, and how many events could not be checked yet."""
    from authapi.services import audit_chain

    with output.progress() as progress:
        task = progress.add_task("Verifying", total=None)
        async with open_runtime(settings) as runtime, runtime.database.reading() as db:
            report = await audit_chain.verify(
                db,
                runtime,
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
            return report, await _count_unsealed(db)


async def _count_unsealed(db: "AsyncSession") -> str:
    """How many events wait for a service to seal them, in words; empty for none."""
    from authapi.services import audit_chain

    count = await audit_chain.count_unsealed(db)
    more = " or more" if count == audit_chain.UNSEALED_COUNTED else ""
    return f"{count}{more}" if count else ""


async def _export(settings: Settings, *, since: datetime | None, follow: bool) -> None:
    from authapi.services import audit_export

    async with open_runtime(settings) as runtime:
        position = 0
        with output.progress(beside_stdout=True) as progress:
            task = progress.add_task("Exporting", total=None)
            while True:
                async with runtime.database.reading() as db:
                    page = await audit_export.read_on(db, position=position, since=since)
                for line in page.events:
                    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
                progress.update(task, advance=len(page.events))
                if page.position == position:
                    sys.stdout.flush()
                    if not follow:
                        break
                    await asyncio.sleep(FOLLOW_SECONDS)
                position = page.position
        async with runtime.database.reading() as db:
            unsealed = await _count_unsealed(db)
    if unsealed:
        output.note(f"{unsealed} events are left out, not sealed yet: a running service seals them.")
