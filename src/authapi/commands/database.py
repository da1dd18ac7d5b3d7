"""`authapi db`: the schema."""

import asyncio
from collections.abc import Mapping

import typer

from authapi.commands import output
from authapi.commands.environment import migrate, open_runtime, prepare_settings, read_schema_state
from authapi.commands.failures import CommandFailed
from authapi.settings import Settings

app = typer.Typer(help="The database schema.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Run the pending migrations."""
    asyncio.run(migrate(prepare_settings()))
    output.note("The database schema is up to date.")


@app.command()
def check() -> None:
    """Tell whether the schema is the one of this release or a newer one; exit 1 if it is behind."""
    from authapi.migrations import SchemaBehind, SchemaState

    state = asyncio.run(read_schema_state(prepare_settings()))
    if state is SchemaState.BEHIND:
        raise CommandFailed(str(SchemaBehind()))
    output.result(state.value)


@app.command()
def purge() -> None:
    """Remove what has expired, as the running service does once an hour."""
    removed = asyncio.run(_purge(prepare_settings()))
    output.table(("table", "removed"), [(table, str(count)) for table, count in removed.items()])


async def _purge(settings: Settings) -> Mapping[str, int]:
    from authapi.services import housekeeping

    async with open_runtime(settings) as runtime:
        return await housekeeping.purge(runtime)
