"""Files of users: JSON lines or CSV, read line by line so that a bad line spoils no other.

No value may contain a line break, so a line is a record in CSV too: a quote that is not closed ends with its
line. Cells that a spreadsheet would take for a formula are written with an apostrophe in front, which is
taken off again when such a file is read (ASVS 1.2.10).
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO

from authapi.security.strict_json import parse_object

FIELDS = (
    "id",
    "email",
    "full_name",
    "phone",
    "locale",
    "discoverable",
    "email_verified",
    "roles",
    "disabled",
    "created_at",
    "password_hash",
)
MAX_LINE_BYTES = 64 * 1024

_FORMULA = re.compile(r"[=+\-@\t\r\0]")
_QUOTED_FORMULA = re.compile(r"'[=+\-@]")
_PLAIN_PASSWORD = "holds a password in plain text; give its hash as password_hash"


class FileFormat(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


class UnreadableFile(Exception):
    """Nothing in the file can be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line's number, counted from 1, and its values, or the problem that it has instead."""

    number: int
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    problem: str | None = None


def read_lines(file: BinaryIO, file_format: FileFormat) -> Iterator[Line]:
    """The lines that are not blank, one at a time in memory; raises `UnreadableFile`."""
    raw_lines = _raw_lines(file)
    if file_format is FileFormat.JSONL:
        parse = _parse_json
    else:
        parse = _CsvParser(_decode(next(raw_lines, (1, b""))[1]))
    for number, raw in raw_lines:
        if len(raw) > MAX_LINE_BYTES:
            yield Line(number, problem=f"is longer than {MAX_LINE_BYTES // 1024} KiB")
        elif raw.strip():
            try:
                yield Line(number, {name: v for name, v in parse(raw).items() if v is not None})
            except UnicodeDecodeError:
                yield Line(number, problem="is not UTF-8")
            except _Unparsable as problem:
                yield Line(number, problem=str(problem))


def write_lines(
    documents: Sequence[Mapping[str, Any]], file_format: FileFormat, columns: Sequence[str]
) -> str:
    """The text of users as lines, for CSV without the header."""
    if file_format is FileFormat.JSONL:
        return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    return _csv_text([[_cell(document[column]) for column in columns] for document in documents])


def write_header(file_format: FileFormat, columns: Sequence[str]) -> str:
    """What comes before the first user."""
    return _csv_text([columns]) if file_format is FileFormat.CSV else ""


class _Unparsable(Exception):
    """A line has no values; the text is its problem and repeats nothing of it."""


class _CsvParser:
    def __init__(self, header: str) -> None:
        # Spreadsheets separate by semicolons where the comma belongs to numbers.
        self._delimiter = max(",;\t", key=header.count)
        try:
            self._columns = [name.strip() for name in self._split(header)]
        except _Unparsable as problem:
            raise UnreadableFile(f"its first line {problem}") from None
        if "password" in self._columns:
            raise UnreadableFile(f"the column password {_PLAIN_PASSWORD}")
        if not set(self._columns) <= set(FIELDS):
            # They are not repeated: without a header, the first line is somebody's address and hash.
            raise UnreadableFile(f"its first line must name the columns, some of: {', '.join(FIELDS)}")
        if "email" not in self._columns or len(set(self._columns)) < len(self._columns):
            raise UnreadableFile("its first line must name the columns, each once, email among them")

    def __call__(self, raw: bytes) -> dict[str, Any]:
        cells = self._split(raw.decode())
        if len(cells) != len(self._columns):
            raise _Unparsable(f"has {len(cells)} cells where the first line has {len(self._columns)}")
        values: dict[str, Any] = {}
        for column, cell in zip(self._columns, cells, strict=True):
            text = cell[1:] if _QUOTED_FORMULA.match(cell) else cell
            if text.strip():
                values[column] = re.findall(r"[^\s,;]+", text) if column == "roles" else text
        return values

    def _split(self, line: str) -> list[str]:
        try:
            return next(csv.reader([line.rstrip("\r\n")], delimiter=self._delimiter, strict=True), [])
        except csv.Error:
            raise _Unparsable("has a quote that is not closed, or text behind a quoted cell") from None


def _parse_json(raw: bytes) -> dict[str, Any]:
    try:
        values = parse_object(raw)
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError):
        raise _Unparsable("is not a JSON object, or names a field twice") from None
    if "password" in values:
        raise _Unparsable(_PLAIN_PASSWORD)
    return values


def _raw_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines by number; of one that is too long, as much as shows that it is."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise UnreadableFile("it is UTF-16; save it as UTF-8")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        rest = raw
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
        yield number, raw


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UnreadableFile("its first line is not UTF-8") from None


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            text = ",".join(value)
        case _:
            text = str(value)
    return f"'{text}" if _FORMULA.match(text) else text


def _csv_text(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
