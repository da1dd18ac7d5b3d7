"""`authapi secret`: the secret key that all internal keys are derived from."""

import asyncio

import typer

from authapi.commands import output
from authapi.commands.environment import open_runtime, prepare_settings
from authapi.settings import Settings

app = typer.Typer(help="The secret key.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """The secret key that all internal keys are derived from."""


@app.command()
def rotate() -> None:
    """Seal what is stored under the present AUTHAPI_SECRET_KEY; nobody is logged out.

    To change the secret key: put the new one into AUTHAPI_SECRET_KEY and the old one into
    AUTHAPI_SECRET_KEY_PREVIOUS, restart every process, run this command. Signing keys do not need the old one
    any more then. Refresh tokens that were made under it do, until their session is refreshed next: drop it
    only after AUTHAPI_REFRESH_TOKEN__IDLE_LIFETIME, or those sessions end. Running this again does no harm.
    """
    settings = prepare_settings()
    asyncio.run(_rotate(settings))
    if settings.secret_key_previous:
        days = settings.refresh_token.idle_lifetime.total_seconds() / 86_400
        output.note(
            "No stored secret needs AUTHAPI_SECRET_KEY_PREVIOUS any more. Refresh tokens made under it stop "
            f"working when it is dropped; after {days:g} days no living session has one. Devices that have not "
            "logged in since are no longer known then. Keep it at hand for "
            "`authapi audit verify`, which cannot check the events that were sealed under it otherwise."
        )


async def _rotate(settings: Settings) -> None:
    from authapi.services.secret_rotation import reseal_everything

    async with open_runtime(settings) as runtime, runtime.database.unit_of_work() as db:
        results = await reseal_everything(db, runtime)
    for result in results:
        output.result(f"{result.kind}: {result.changed} of {result.total} sealed again")
