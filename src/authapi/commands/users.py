"""`authapi users`: accounts, without the HTTP interface. This is how the first administrator is made."""

import asyncio
import sys
from typing import Annotated

import typer

from authapi.commands import output, user_transfer
from authapi.commands.environment import open_runtime, prepare_settings
from authapi.field_limits import MAX_NAME_CHARACTERS
from authapi.settings import Settings

app = typer.Typer(help="Accounts.", no_args_is_help=True)
app.command("import")(user_transfer.import_users)
app.command("export")(user_transfer.export_users)

Email = Annotated[str, typer.Argument(metavar="EMAIL")]


@app.command()
def create(
    email: Email,
    role: Annotated[list[str] | None, typer.Option(help="May be repeated; user unless given.")] = None,
    name: Annotated[str | None, typer.Option(help="The person's name.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
    ] = False,
) -> None:
    """Create an account whose address counts as verified, and print its id."""
    full_name = _check_name(email.partition("@")[0].strip() if name is None else name)
    settings = prepare_settings()
    password = _read_password() if password_stdin else _ask_password()
    asyncio.run(
        _create(settings, email=email, password=password, full_name=full_name, roles=role or ["user"])
    )


@app.command()
def set_role(email: Email, role: Annotated[str, typer.Argument(metavar="ROLE")]) -> None:
    """Replace the roles of a user by one; takes effect within a second."""
    asyncio.run(_set_role(prepare_settings(), email=email, role=role))


@app.command()
def disable(email: Email) -> None:
    """Lock a user out and end every session."""
    asyncio.run(_set_disabled(prepare_settings(), email=email, disabled=True))


@app.command()
def enable(email: Email) -> None:
    """Let a disabled user log in again."""
    asyncio.run(_set_disabled(prepare_settings(), email=email, disabled=False))


@app.command("list")
def list_users(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 100,
) -> None:
    """List accounts in the order of their addresses: a table, or lines with tabs if not on a terminal."""
    rows, has_more = asyncio.run(_list(prepare_settings(), limit=limit))
    output.table(("email", "roles", "status", "verified", "created_at", "id"), rows)
    if has_more:
        output.note(f"There are more than {limit}; see --limit.")


def _check_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise typer.BadParameter(
            f"must have 1 to {MAX_NAME_CHARACTERS} printable characters", param_hint="--name"
        )
    return name


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "there is no terminal to ask for the password; add --password-stdin",
            param_hint="--password-stdin",
        )
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _read_password() -> str:
    try:
        password = sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise typer.BadParameter("the password is not UTF-8", param_hint="--password-stdin") from None
    if not password:
        raise typer.BadParameter("the first line of stdin is empty", param_hint="--password-stdin")
    return password


async def _create(settings: Settings, *, email: str, password: str, full_name: str, roles: list[str]) -> None:
    from authapi.services.user_provisioning import provision_user

    async with open_runtime(settings) as runtime, runtime.database.unit_of_work() as db:
        user = await provision_user(
            db, runtime, email=email, password=password, full_name=full_name, role_names=roles
        )
    output.result(str(user.id))
    output.note(f"Created {user.email} with {', '.join(user.role_names)}.")


async def _set_role(settings: Settings, *, email: str, role: str) -> None:
    from authapi.services.user_provisioning import replace_roles

    async with open_runtime(settings) as runtime, runtime.database.unit_of_work() as db:
        user = await replace_roles(db, runtime, email=email, role_names=[role])
    output.note(f"{user.email} is now {role}.")


async def _set_disabled(settings: Settings, *, email: str, disabled: bool) -> None:
    from authapi.services.user_provisioning import disable_user, enable_user

    async with open_runtime(settings) as runtime, runtime.database.unit_of_work() as db:
        user = await (disable_user(db, runtime, email=email) if disabled else enable_user(db, email=email))
    output.note(f"{user.email} is {'disabled' if disabled else 'enabled'}.")


async def _list(settings: Settings, *, limit: int) -> tuple[list[tuple[str, ...]], bool]:
    """The rows of the table, and whether there are more."""
    from authapi.services.user_listing import list_by_email

    async with open_runtime(settings) as runtime, runtime.database.reading() as db:
        page = await list_by_email(db, limit=limit)
    rows: list[tuple[str, ...]] = [
        (
            user.email,
            ",".join(user.role_names),
            user.status.value,
            "yes" if user.email_verified else "no",
            user.created_at.isoformat(timespec="seconds"),
            str(user.id),
        )
        for user in page.items
    ]
    return rows, page.next_cursor is not None
