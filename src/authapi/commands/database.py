"""`authapi db`: the schema."""

import asyncio

import typer

from authapi.commands import output
from authapi.commands.environment import migrate, prepare_settings, read_schema_state
from authapi.commands.failures import CommandFailed

app = typer.Typer(help="The database schema.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Run the pending migrations."""
    asyncio.run(migrate(prepare_settings()))
    output.note("The database schema is up to date.")


@app.command()
def check() -> None:
    """Tell whether the schema is the one of this release; exit 1 if it is behind."""
    from authapi.migrations import SchemaBehind, SchemaState

    state = asyncio.run(read_schema_state(prepare_settings()))
    if state is SchemaState.BEHIND:
        raise CommandFailed(str(SchemaBehind()))
    output.result(state.value)
