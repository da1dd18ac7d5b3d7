"""`authapi clients`: services that call authapi in their own name."""

import asyncio
from typing import Annotated

import typer

from authapi.commands import output
from authapi.commands.environment import open_runtime, prepare_settings
from authapi.commands.failures import CommandFailed
from authapi.settings import Settings

MAX_NAME_CHARACTERS = 100

app = typer.Typer(help="Services that call authapi in their own name.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call the service.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="A permission it may ask for; may be repeated.")
    ] = None,
) -> None:
    """Create a client, and print its id and, this once, its secret."""
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise typer.BadParameter(
            f"must have 1 to {MAX_NAME_CHARACTERS} printable characters", param_hint="NAME"
        )
    asyncio.run(_create(prepare_settings(), name=name, scopes=scope or []))


@app.command("list")
def list_clients() -> None:
    """List the clients, the oldest first: a table, or lines with tabs if not on a terminal."""
    rows = asyncio.run(_list(prepare_settings()))
    output.table(("client_id", "name", "scopes", "status", "created_at"), rows)


@app.command()
def revoke(
    client_id: Annotated[str, typer.Argument(metavar="ID", help="As `clients list` shows it.")],
) -> None:
    """Refuse a client for ever; its tokens, and sessions opened through it, end within a second."""
    asyncio.run(_revoke(prepare_settings(), client_id=client_id))


async def _create(settings: Settings, *, name: str, scopes: list[str]) -> None:
    from authapi.errors import InvalidScope
    from authapi.services.service_clients import create_client

    try:
        async with open_runtime(settings) as runtime, runtime.database.unit_of_work() as db:
            client, secret = await create_client(db, name=name, scopes=scopes)
    except InvalidScope as refused:
        raise CommandFailed(f"--scope: {refused.detail}") from None
    output.result(f"client_id={client.client_id}")
    output.result(f"client_secret={secret}")
    output.note("Keep the secret now: it is not shown again.")


async def _list(settings: Settings) -> list[tuple[str, ...]]:
    from authapi.services.service_clients import list_clients as find_clients

    async with open_runtime(settings) as runtime, runtime.database.reading() as db:
        return [
            (
                client.client_id,
                client.name,
                ",".join(client.scopes),
                "revoked" if client.revoked_at else "active",
                client.created_at.isoformat(timespec="seconds"),
            )
            for client in await find_clients(db)
        ]


async def _revoke(settings: Settings, *, client_id: str) -> None:
    from authapi.services.service_clients import revoke_client

    async with open_runtime(settings) as runtime, runtime.database.unit_of_work() as db:
        client = await revoke_client(db, runtime, client_id=client_id)
    output.note(f"{client.name} ({client.client_id}) is revoked.")
