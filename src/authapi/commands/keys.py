"""`authapi keys`: the keys that sign access tokens."""

import asyncio

import typer

from authapi.commands import output
from authapi.commands.environment import open_runtime, prepare_settings
from authapi.settings import Settings

app = typer.Typer(help="The keys that sign access tokens.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """The keys that sign access tokens."""


@app.command("list")
def list_all() -> None:
    """List the keys: next is published, current signs, retired still verifies."""
    rows = asyncio.run(_list_keys(prepare_settings()))
    output.table(("kid", "algorithm", "state", "activates_at"), rows)


async def _list_keys(settings: Settings) -> list[tuple[str, str, str, str]]:
    from authapi.services.key_listing import list_keys

    async with open_runtime(settings) as runtime, runtime.database.reading() as db:
        return [
            (
                key.kid,
                key.algorithm,
                key.state.value,
                key.activates_at.isoformat(timespec="seconds") if key.activates_at else "",
            )
            for key in await list_keys(db, runtime)
        ]
