"""Bodies that no JSON route may accept and none may answer with a 5xx, built by code.

`MALFORMED` must be refused by the parser (400, or 413 where the body is over 64 KiB). `WELL_FORMED` is
valid JSON that no request model of ours describes: 422 from a route with a body, never a 5xx.
"""

import json
from collections.abc import Iterator
from typing import Any

_STRUCTURES = {
    "nothing but spaces": "   ",
    "unclosed object": "{",
    "unclosed array": "[",
    "only a closing brace": "}",
    "only a closing bracket": "]",
    "crossed brackets": '{"a":[1}]',
    "extra closing brace": '{"a":1}}',
    "two documents": "{}{}",
    "two documents, newline": '{"a":1}\n{"a":2}',
    "trailing comma in object": '{"a":1,}',
    "trailing comma in array": "[1,]",
    "leading comma": "[,1]",
    "double comma": "[1,,2]",
    "comma only": ",",
    "missing colon": '{"a" 1}',
    "double colon": '{"a"::1}',
    "missing value": '{"a":}',
    "missing key": "{:1}",
    "bare key": "{a:1}",
    "single quotes": "{'a':1}",
    "number as key": "{1:1}",
    "null as key": "{null:1}",
    "array as key": "{[]:1}",
    "line comment": '{"a":1} // x',
    "block comment": '{"a":/* x */1}',
    "hash comment": "# x\n{}",
    "python True": '{"a":True}',
    "python None": '{"a":None}',
    "undefined": '{"a":undefined}',
    "truncated true": '{"a":tru}',
    "truncated null": '{"a":nul',
    "upper-case null": '{"a":NULL}',
    "javascript call": "callback({})",
    "javascript prefix": ")]}',\n{}",
    "xml": '<?xml version="1.0"?><a/>',
    "yaml": "a: 1",
    "form": "a=1&b=2",
    "html": "<script>alert(1)</script>",
    "text": "hello",
    "semicolon": '{"a":1};',
    "vertical tab": '{"a":\x0b1}',
    "form feed": '{"a":\x0c1}',
    "no-break space": '{"a":\u00a01}',
    "line separator": '{"a":\u20281}',
    "zero width space": '\u200b{"a":1}',
    "record separator": "\x1e{}",
}
_NUMBERS = (
    ["NaN", "-NaN", "nan", "Infinity", "-Infinity", "+Infinity", "Inf", "inf", "1e400", "-1e400", "1e999999"]
    + [
        "01",
        "-01",
        "00",
        "0x1",
        "0b1",
        "0o7",
        "1_000",
        "+1",
        "++1",
        "--1",
        "-",
        "+",
        ".5",
        "-.5",
        "5.",
        "1.e1",
    ]
    + ["1e", "1e+", "1E-", "1.2.3", "1e1.5", "1,5", "１", "٣", "1f", "1L", "1n", "0e", "- 1", "1 000", "½"]
    + [
        str(sign * (2**bits + offset))
        for sign in (1, -1)
        for bits in (64, 65, 96, 128, 256)
        for offset in (0, 1)
    ]
    + [str(2**63), str(2**63 + 1), str(-(2**63) - 1), "9" * 20, "9" * 100, "9" * 4_301, "-" + "9" * 5_000]
    + ["9" * 60_000, "1" + "0" * 400, "1" + "0" * 400 + ".0", "9" * 400 + "e0"]
)
_STRINGS = {
    **{f"raw control character {point:#04x}": chr(point) for point in range(0x20)},
    **{
        f"escaped NUL: {place}": text
        for place, text in {"alone": r"\u0000", "inside": r"a\u0000b", "twice": r"\u0000\u0000"}.items()
    },
    **{
        f"lone surrogate {text}": text
        for text in (
            *(rf"\u{point:04x}" for point in (0xD800, 0xD801, 0xDBFF, 0xDC00, 0xDC01, 0xDFFF)),
            r"\uD83D",
            r"\uDE00\uD83D",
            r"\ud83d\ud83d",
            r"\ud83d x",
            r"a\udc00",
            r"\ud83d\u0041",
            r"\ud800\ud800\udc00",
        )
    },
    **{
        f"bad escape {text}": text
        for text in (
            *(r"\x41", r"\a", r"\v", r"\0", r"\'", r"\u", r"\u1", r"\u12", r"\u123", r"\uZZZZ", r"\u 041"),
            *(r"\U00000041", r"\u{41}", r"\u-001", "\\", "\\é", r"\400", r"\e", r"\N{DIGIT ONE}", "\\\n"),
        )
    },
    **{f"unescaped quote {number}": '"' * number for number in (1, 2, 3)},
}
_BAD_UTF8 = (
    *(
        bytes([byte])
        for byte in (0x80, 0x81, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC3, 0xE2, 0xF0, 0xF5, 0xF8, 0xFC)
    ),
    *(bytes([byte]) for byte in (0xFE, 0xFF)),
    *(
        b"\xc0\x80",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x80\xaf",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\x80",
    ),
    *(b"\xed\xa0\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80"),
    *(b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    *(b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3(", b"\xe2(\xa1", b"\xe2\x82(", b"\xf0(\x8c\xbc", b"\xf0\x90(\xbc"),
)
_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig", "utf-7")
_DEPTHS = (17, 18, 32, 64, 100, 500, 999, 1_000, 1_100, 5_000, 20_000, 30_000)


def _malformed() -> Iterator[tuple[str, bytes]]:
    for name, text in _STRUCTURES.items():
        yield name, text.encode()
    for number in _NUMBERS:
        label = number if len(number) <= 40 else f"{number[:12]}... ({len(number)} characters)"
        yield f"number {label}", f'{{"a":{number}}}'.encode()
        if len(number) < 1_000 and "," not in number:
            yield f"number in a list {label}", f"[{number}]".encode()
    for name, content in _STRINGS.items():
        yield f"value: {name}", f'{{"a":"{content}"}}'.encode()
        yield f"key: {name}", f'{{"{content}":1}}'.encode()
    for sequence in _BAD_UTF8:
        yield f"bad UTF-8 in a value: {sequence.hex()}", b'{"a":"' + sequence + b'"}'
        yield f"bad UTF-8 in a key: {sequence.hex()}", b'{"' + sequence + b'":1}'
        yield f"bad UTF-8 outside: {sequence.hex()}", b"{}" + sequence
    for encoding in _ENCODINGS:
        for text in ('{"email":"a@example.com"}', '{"é":"ü"}'):
            if encoding != "utf-7" or not text.isascii():
                # UTF-7 is ASCII: its "+AOk-" is a plain string here, so only its braces can be wrong.
                body = text.encode(encoding)
                yield f"{encoding}: {text}", body if encoding != "utf-7" else body.replace(b"{", b"+AHs-")
    for name, text in {
        "duplicate key": '{"a":1,"a":1}',
        "duplicate key, other value": '{"email":"a@example.com","email":"b@example.com"}',
        "duplicate key, escaped": r'{"a":1,"\u0061":2}',
        "duplicate key below": '{"a":{"b":1,"b":2}}',
        "duplicate key in a list": '[{"b":1,"b":null}]',
        "duplicate empty key": '{"":1,"":2}',
        "duplicate key, three times": '{"a":1,"a":2,"a":3}',
    }.items():
        yield name, text.encode()
    for depth in _DEPTHS:
        yield f"{depth} arrays", b"[" * depth + b"]" * depth
        yield f"{depth} arrays, unclosed", b"[" * depth
    for depth in (17, 100, 1_100, 5_000):
        yield f"{depth} objects", b'{"a":' * depth + b"1" + b"}" * depth
        yield f"{depth} mixed levels", b'[{"a":' * depth + b"1" + b"}]" * depth
    yield "100,000 brackets", b"[" * 100_000
    yield "100,000 closed brackets", b"[" * 50_000 + b"]" * 50_000
    yield "1 MiB string", b'{"a":"' + b"x" * 1024 * 1024 + b'"}'


def _well_formed() -> Iterator[tuple[str, bytes]]:
    documents: list[Any] = [
        None,
        True,
        False,
        0,
        -1,
        1.5,
        "",
        "text",
        [],
        [1],
        ["a"],
        [{}],
        [[]],
        {},
        {"": 1},
    ]
    for document in documents:
        yield f"document {document!r}", json.dumps(document).encode()
    names = ("email", "password", "token", "refresh_token", "roles", "limit", "is_admin", "__proto__", "code")
    values: list[Any] = [None, True, 0, -(2**63), 2**63 - 1, 2**31, 1e308, -0.0, [], [None], {}, {"$ne": 1}]
    for name in names:
        for value in [*values, "", " "]:
            yield f"{name} = {value!r}", json.dumps({name: value}).encode()
    texts = ("\u202egnp.exe", "ﬀ", "İ", "a\u0301" * 500, "\ufeff", "\uffff", "\U0010ffff", "x" * 30_000)
    for text in (*texts, "\r\nSet-Cookie: a=b"):
        yield f"text {text[:12]!r} ({len(text)})", json.dumps({"email": text, "password": text}).encode()
    yield "5,000 keys", json.dumps({f"k{number:04}": 1 for number in range(5_000)}).encode()
    yield "a list of 20,000", json.dumps([0] * 20_000).encode()


MALFORMED: dict[str, bytes] = dict(_malformed())
WELL_FORMED: dict[str, bytes] = dict(_well_formed())
HOSTILE_JSON: dict[str, bytes] = {**MALFORMED, **WELL_FORMED}
