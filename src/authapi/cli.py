"""The `authapi` command: what an operator types. Every command is thin and calls a service."""

import sys
from typing import Annotated

import typer

from authapi import __version__
from authapi.commands import (
    audit,
    clients,
    database,
    doctor,
    keys,
    mail,
    openapi,
    promote,
    secret,
    server,
    users,
)
from authapi.commands.failures import CommandGroup

app = typer.Typer(
    name="authapi",
    cls=CommandGroup,
    no_args_is_help=True,
    # Boxes and colours are for terminals; a log or a pipe gets plain lines.
    rich_markup_mode="rich" if sys.stderr.isatty() else None,
    # Typer's own tracebacks would print local variables, which hold passwords.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(server.serve)
app.add_typer(database.app, name="db")
app.add_typer(users.app, name="users")
app.add_typer(clients.app, name="clients")
app.add_typer(keys.app, name="keys")
app.add_typer(mail.app, name="mail")
app.add_typer(secret.app, name="secret")
app.add_typer(audit.app, name="audit")
app.command()(promote.promote)
app.command()(doctor.doctor)
app.command()(openapi.openapi)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"authapi {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A self-hosted authentication service.

    Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 the service could not start.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    app(prog_name="authapi")
