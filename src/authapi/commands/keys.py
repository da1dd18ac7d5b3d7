"""`authapi keys`: the keys that sign access tokens."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from authapi.commands import output
from authapi.commands.environment import open_runtime, prepare_settings
from authapi.commands.failures import CommandFailed
from authapi.settings import Settings

if TYPE_CHECKING:
    from authapi.models import SigningKey

app = typer.Typer(help="The keys that sign access tokens.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """The keys that sign access tokens."""


@app.command("list")
def list_all() -> None:
    """List the keys: next is published, current signs, retired still verifies."""
    rows = asyncio.run(_list_keys(prepare_settings()))
    output.table(("kid", "algorithm", "state", "activates_at"), rows)


@app.command()
def rotate(
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised",
            help="A key has leaked: sign with a new one at once and accept none of the others any more.",
        ),
    ] = False,
) -> None:
    """Publish the next key: it signs after ten minutes, and the tokens of the one before stay valid.

    Keys also rotate by themselves, every AUTHAPI_ACCESS_TOKEN__KEY_LIFETIME. With --compromised every access
    token ends and clients refresh theirs; running processes follow within thirty seconds, services that keep
    the JWKS within five minutes.
    """
    row = asyncio.run(_rotate(prepare_settings(), compromised=compromised))
    output.result(row.kid)
    if compromised:
        output.note("The new key signs now; all others are revoked, within thirty seconds everywhere.")
    else:
        output.note(f"The new key signs from {row.activates_at.isoformat(timespec='seconds')} on.")


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


async def _rotate(settings: Settings, *, compromised: bool) -> "SigningKey":
    from authapi.services import key_rotation
    from authapi.services.signing_keys import generate_key

    change = key_rotation.replace_compromised if compromised else key_rotation.rotate
    async with open_runtime(settings) as runtime:
        fresh = await generate_key(runtime)
        try:
            async with runtime.database.unit_of_work() as db:
                return await change(db, runtime, fresh=fresh)
        except key_rotation.RotationRefused as refused:
            raise CommandFailed(str(refused)) from None
