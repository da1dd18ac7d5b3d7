"""`authapi promote`: moves an installation from SQLite to PostgreSQL."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from authapi.commands import output
from authapi.commands.environment import database_failures, prepare_settings, read_schema_state
from authapi.commands.failures import CommandFailed, describe_failure
from authapi.secret_keys import SECRET_KEY_FILE
from authapi.setting_types import DatabaseUrl
from authapi.settings import InvalidSettings, Settings

if TYPE_CHECKING:
    from authapi.services.promotion import MovedTable


def promote(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="postgresql+asyncpg://user@host/database, empty. Leave the password to PGPASSWORD or a "
            "password file: whoever can list processes can read this line.",
        ),
    ],
) -> None:
    """Move this installation from SQLite to an empty PostgreSQL database, all or nothing.

    Stop the service first. Users, passwords, sessions, second factors, keys, clients, mails and the audit
    trail move as they are: with the same secret key, everybody stays logged in. The SQLite file is only read.
    """
    target_url = _check_target(to)
    settings = prepare_settings()
    if not settings.database_url.startswith("sqlite"):
        raise CommandFailed("AUTHAPI_DATABASE__URL: is PostgreSQL already; move that with pg_dump")
    moved = asyncio.run(_promote(settings, target_url))
    output.table(("table", "rows"), [(table.name, str(table.rows)) for table in moved])
    for line in _next_steps(settings):
        output.note(line)


def _check_target(text: str) -> str:
    try:
        url: str = TypeAdapter(DatabaseUrl).validate_python(text)
    except ValidationError:
        url = ""
    if not url.startswith("postgresql"):
        raise typer.BadParameter("must start with postgresql+asyncpg://", param_hint="--to")
    return url


async def _promote(settings: Settings, target_url: str) -> "list[MovedTable]":
    from authapi.services import promotion

    target = settings.model_copy(
        update={"database": settings.database.model_copy(update={"url": target_url})}
    )
    with output.progress() as progress:
        task = progress.add_task("", total=None)
        announced = ""

        def show(table: str, done: int, total: int) -> None:
            nonlocal announced
            progress.update(task, description=table, completed=done, total=total)
            if table != announced and not sys.stderr.isatty():
                output.note(f"{done} of {total} rows; {table} ...")
            announced = table

        try:
            with _naming_the_option():
                await read_schema_state(target)
                with database_failures(target):
                    return await promotion.promote(
                        source_url=settings.database_url, target_url=target_url, on_progress=show
                    )
        except promotion.PromotionRefused as refused:
            raise CommandFailed(str(refused)) from None


@contextmanager
def _naming_the_option() -> Iterator[None]:
    """The target is no setting yet whose variable a failure could name."""
    try:
        yield
    except (CommandFailed, InvalidSettings) as failed:
        lines = [line.replace("AUTHAPI_DATABASE__URL:", "--to:") for line in describe_failure(failed)]
        raise CommandFailed(*lines, "nothing was moved; the target is as empty as before") from None


def _next_steps(settings: Settings) -> list[str]:
    secret = "AUTHAPI_SECRET_KEY"
    if settings.secret_key is None:
        secret = f"the file {settings.data_dir / SECRET_KEY_FILE}, or put its content into AUTHAPI_SECRET_KEY"
    return [
        "Everything has arrived. Next:",
        "  1. set AUTHAPI_DATABASE__URL to the new database, everywhere;",
        f"  2. keep {secret}: without it, nothing that was moved can be opened;",
        "  3. keep AUTHAPI_PASSWORD__PEPPER and AUTHAPI_ACCESS_TOKEN__SECRET, if they are set;",
        "  4. start the service, then run: authapi audit verify;",
        "  5. delete the SQLite file once you are content; never start the service on it again.",
    ]
