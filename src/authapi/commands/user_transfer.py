"""`authapi users import` and `authapi users export`."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from authapi.commands import output
from authapi.commands.environment import open_runtime, prepare_settings
from authapi.commands.failures import CommandFailed, ExitCode
from authapi.services.user_files import FileFormat, UnreadableFile, read_lines, write_header, write_lines
from authapi.settings import Settings

if TYPE_CHECKING:
    from authapi.services.user_import import ImportReport

_SUFFIXES = {
    ".csv": FileFormat.CSV,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".json": FileFormat.JSONL,
}

Format = Annotated[
    FileFormat | None, typer.Option("--format", help="Unless the file's name ends in .jsonl or .csv.")
]


def import_users(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)],
    file_format: Format = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every line and write no account.")
    ] = False,
) -> None:
    """Make accounts of JSON lines or CSV, with the password hashes of the system that they come from.

    Fields: email, and if you have them password_hash, full_name, phone, locale, discoverable, email_verified,
    roles, disabled, created_at, id. Addresses that have an account are skipped, so an import can be run again.
    Lines that cannot be taken go to FILE.rejected.jsonl by number and reason; then the exit code is 1.
    """
    chosen = _choose_format(file, file_format)
    report = asyncio.run(_import(prepare_settings(), file, chosen, dry_run=dry_run))
    would = "would be " if dry_run else ""
    output.note(f"{report.imported} {would}imported, {report.skipped} skipped: they have an account.")
    if report.rejected:
        output.error(f"{report.rejected} lines were refused: see {_rejected_file(file)}")
        raise typer.Exit(ExitCode.FAILED)


def export_users(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", dir_okay=False, writable=True)] = None,
    file_format: Format = None,
    include_password_hashes: Annotated[
        bool,
        typer.Option(
            "--include-password-hashes",
            help="DANGEROUS: who reads the file can guess passwords at leisure. Only to move accounts.",
        ),
    ] = False,
) -> None:
    """Write every account as JSON lines or CSV, to FILE or to stdout; the file is readable by its owner only."""
    if include_password_hashes:
        output.note("The export holds password hashes: keep it like the database, and delete it after use.")
        if sys.stdin.isatty() and sys.stderr.isatty():
            typer.confirm("Go on?", abort=True, err=True)
    chosen = file_format or (FileFormat.JSONL if file is None else _choose_format(file, None))
    settings = prepare_settings()
    with _open_export(file) as out:
        total = asyncio.run(_export(settings, out, chosen, include_password_hashes=include_password_hashes))
    output.note(f"{total} accounts exported.")


def _choose_format(file: Path, given: FileFormat | None) -> FileFormat:
    chosen = given or _SUFFIXES.get(file.suffix.lower())
    if chosen is None:
        raise typer.BadParameter("the file's name does not tell: jsonl or csv?", param_hint="--format")
    return chosen


def _rejected_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.rejected.jsonl")


async def _import(
    settings: Settings, file: Path, file_format: FileFormat, *, dry_run: bool
) -> "ImportReport":
    from authapi.services import user_import

    with file.open("rb") as source, output.progress() as progress, _open_rejected(file) as rejected:
        task = progress.add_task("Importing", total=os.fstat(source.fileno()).st_size)

        def on_batch(report: "ImportReport") -> None:
            for number, reason in sorted(report.reasons.items()):
                rejected.write(json.dumps({"line": number, "reason": reason}) + "\n")
            rejected.flush()
            progress.update(task, completed=source.tell())

        async with open_runtime(settings) as runtime:
            try:
                return await user_import.import_users(
                    runtime, read_lines(source, file_format), dry_run=dry_run, on_batch=on_batch
                )
            except UnreadableFile as unreadable:
                raise CommandFailed(f"{file}: {unreadable}") from None


async def _export(
    settings: Settings, out: TextIO, file_format: FileFormat, *, include_password_hashes: bool
) -> int:
    from authapi.services import user_export

    columns = user_export.exported_fields(include_password_hashes=include_password_hashes)
    done = 0
    with output.progress(beside_stdout=out is sys.stdout) as progress:
        async with open_runtime(settings) as runtime:
            task = progress.add_task("Exporting", total=await user_export.count_users(runtime))
            out.write(write_header(file_format, columns))
            pages = user_export.export_users(runtime, include_password_hashes=include_password_hashes)
            async for page in pages:
                out.write(write_lines(page, file_format, columns))
                done += len(page)
                progress.update(task, completed=done)
    return done


@contextmanager
def _open_rejected(file: Path) -> Iterator[TextIO]:
    """The file of refused lines; one without any, of now or of an earlier run, is removed."""
    path = _rejected_file(file)
    try:
        with _open_private(path) as rejected:
            yield rejected
    finally:
        if path.stat().st_size == 0:
            path.unlink()


@contextmanager
def _open_export(file: Path | None) -> Iterator[TextIO]:
    """Stdout, or a file that is there only once it is complete."""
    if file is None:
        yield sys.stdout
        return
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        with _open_private(unfinished) as out:
            yield out
        unfinished.replace(file)
    except OSError as error:
        if error.filename == str(unfinished):
            # The person has asked for the other one.
            error.filename = str(file)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def _open_private(path: Path) -> TextIO:
    def opener(name: str, flags: int) -> int:
        descriptor = os.open(name, flags, 0o600)
        # The mode is for new files; an old one may be open to others.
        os.fchmod(descriptor, 0o600)
        return descriptor

    return open(path, "w", encoding="utf-8", newline="\n", opener=opener)
