"""Reads JSON, forms and URLs so that every parser behind us understands the same (ASVS 1.5.3, 15.3.7).

`json.loads` takes UTF-16, duplicate keys, NaN, numbers of any size and lone surrogates. Each of them is
either read differently by the next program, or accepted here and refused by PostgreSQL with a 500.
"""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote_to_bytes

from fastapi.routing import APIRoute
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from authapi.errors import BadRequest, MalformedRequest, NumberOutOfRange, UnstorableText

MAX_DEPTH = 16
MAX_PARAMETERS = 100
_INT64 = 2**63
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# A second one of these may be the one that a proxy or a log has looked at. Headers that lists may be
# split over, such as Cookie and Forwarded, are left alone.
_SINGLE_HEADERS = (b"authorization", b"content-type", b"host")


class StrictJsonRequest(Request):
    """A request whose body is UTF-8 JSON, or a URL-encoded form, without room for interpretation.

    Reading raises `MalformedRequest`. FastAPI wraps that into an HTTPException with status 400, which
    `error_handlers` unwraps.
    """

    async def body(self) -> bytes:
        """Returns the raw body; a body that is neither empty nor declared as JSON or form is refused."""
        raw = await super().body()
        if raw and self._media_type() not in {"application/json", "application/x-www-form-urlencoded"}:
            raise MalformedRequest("the content type is neither JSON nor a form")
        return raw

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            raw = await self.body()
            if self._media_type() != "application/json":
                raise MalformedRequest("JSON was expected")
            self._json = parse_json(raw)
        return self._json

    # `form()` is public but returns a private wrapper around this coroutine.
    async def _get_form(self, **_limits: Any) -> FormData:
        if self._form is None:
            raw = await self.body()
            if raw and self._media_type() != "application/x-www-form-urlencoded":
                raise MalformedRequest("a URL-encoded form was expected")
            try:
                self._form = FormData(list[tuple[str, str | UploadFile]](parse_pairs(raw)))
            except ValueError as error:
                raise MalformedRequest(f"form: {error}") from None
        return self._form

    def _media_type(self) -> str:
        """Returns the lower-case media type; raises `MalformedRequest` for a charset other than UTF-8."""
        media_type, *parameters = self.headers.get("content-type", "").lower().split(";")
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "charset" and value.strip().strip('"') not in {"utf-8", "utf8"}:
                raise MalformedRequest("a charset other than UTF-8")
        return media_type.strip()


class StrictJsonRoute(APIRoute):
    """Checks the request's target, then hands the route a `StrictJsonRequest`.

    Calls `super().get_route_handler()`, so it can be combined with other route classes; the ones named
    before it run first.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            check_target(request.scope)
            return await handle(StrictJsonRequest(request.scope, request.receive))

        return handle_strictly


def parse_json(raw: bytes) -> Any:
    """Parses UTF-8 JSON (RFC 8259) within the limits of I-JSON (RFC 7493).

    Raises `MalformedRequest` for another encoding, a byte order mark, NaN and infinities, duplicate keys, and
    more than 16 levels; `NumberOutOfRange` for integers beyond 64 bits and what no double holds;
    `UnstorableText` for NUL and lone surrogates.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_int=_int64,
            parse_float=_finite,
            object_pairs_hook=_unique,
        )
        _check_tree(value)
    # RecursionError: 1,100 brackets are enough, long before any depth could be counted.
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"JSON: {type(error).__name__}") from None
    return value


def check_target(scope: Scope) -> None:
    """Raises `BadRequest` for a path or query that is not clean UTF-8, and for repeated parameters."""
    try:
        path = unquote_to_bytes(scope.get("raw_path") or scope["path"]).decode("utf-8")
        if "\x00" in path:
            raise ValueError("NUL in the path")
        if scope.get("query_string"):
            parse_pairs(scope["query_string"])
    except ValueError as error:
        raise BadRequest(f"target: {type(error).__name__}") from None
    names = [name for name, _ in scope["headers"]]
    if len(set(names)) < len(names) and any(names.count(name) > 1 for name in _SINGLE_HEADERS):
        raise BadRequest("a header that may be sent once was repeated")


def parse_pairs(raw: bytes) -> list[tuple[str, str]]:
    """Decodes `application/x-www-form-urlencoded`: at most 100 pairs, each name once (RFC 6749 section 3.1).

    Raises ValueError for anything but percent-encoded UTF-8 without NUL.
    """
    text = raw.decode("ascii")
    if _BROKEN_ESCAPE.search(text):
        raise ValueError("broken percent-encoding")
    pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    if any("\x00" in name or "\x00" in value for name, value in pairs):
        raise ValueError("NUL")
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a parameter was repeated")
    return pairs


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _int64(digits: str) -> int:
    # int() of 64 KiB of digits would first cost quadratic time.
    if len(digits) > 20 or not -_INT64 <= (number := int(digits)) < _INT64:
        raise NumberOutOfRange("an integer beyond 64 bits")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise NumberOutOfRange("a number beyond double precision")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a duplicate key")
    return members


def _check_tree(value: Any) -> None:
    """Walks without recursion; the input is already at most as deep as the interpreter's stack."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                below += item
        depth += any(isinstance(item, dict | list) for item in level)
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
        level = below


def _check_text(text: str) -> None:
    if "\x00" in text or (not text.isascii() and _LONE_SURROGATE.search(text)):
        raise UnstorableText("NUL or a lone surrogate in a string")
