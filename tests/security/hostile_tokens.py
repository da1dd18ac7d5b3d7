"""Tokens that no verifier may accept, made from the claims of a good one.

The corpus is data: `build_hostile_tokens` gives (name, token) pairs for `decode_access_token` and for every
route that takes a bearer token. Nothing here uses the encoder under test; a key only lends its raw signature.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from authapi.security.signing_keys import Algorithm, SigningKey, VerifyingKey, generate_signing_key
from tests.security.token_forge import Forge, encode, hs256

INSTANTS = ("iat", "exp", "auth_time")
TEXTS = ("iss", "aud", "sub", "client_id", "jti", "sid", "user_id", "email", "role", "scope")
LISTS = ("roles", "amr")

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def build_hostile_tokens(
    valid_claims: Mapping[str, Any], *, key: SigningKey, other_key: SigningKey
) -> list[tuple[str, str]]:
    """Over 500 named tokens, each wrong in one way.

    `valid_claims` are the JSON claims of a user's token that is good right now; `key` is its key and is
    trusted, `other_key` has the same algorithm and is not.
    """
    forge = Forge(valid_claims, key)
    return [
        *_unsigned(forge),
        *_confused_algorithms(forge),
        *_headers(forge),
        *_claims(forge),
        *_documents(forge),
        *_spellings(forge),
        *_signatures(forge, other_key),
    ]


def survives_http(token: str) -> bool:
    """Whether a header line `Authorization: Bearer <token>` delivers exactly this token."""
    return re.fullmatch(r"[!-~]+", token) is not None


Corpus = Iterator[tuple[str, str]]


def _unsigned(forge: Forge) -> Corpus:
    payload = encode(forge.payload())
    for alg in ("none", "None", "NONE", "nOnE", "", None):
        header = encode(json.dumps({**forge.header, "alg": alg}).encode())
        yield f"unsigned alg={alg!r} empty signature", f"{header}.{payload}."
        yield f"unsigned alg={alg!r} with a signature", forge.with_header(alg=alg)
    header, _, signature = forge.good().split(".")
    yield "unsigned good header, empty signature", f"{header}.{payload}."
    yield "unsigned good header, one character", f"{header}.{payload}.A"
    yield "unsigned good header, zero bytes", f"{header}.{payload}.{encode(bytes(len(signature) * 3 // 4))}"


def _confused_algorithms(forge: Forge) -> Corpus:
    for alg in "HS256 HS384 HS512 RS256 RS384 PS256 ES256 ES384 EdDSA es256 dir".split():
        if alg != forge.header["alg"]:
            yield f"algorithm {alg} under our kid", forge.with_header(alg=alg)
    not_names = (["ES256"], 256, True, {"ES256": 1}, "ES", "S25", "ES256,HS256", "ES256 ", "\u0000ES256")
    for name in not_names:
        yield f"algorithm {name!r}", forge.with_header(alg=name)
    yield "algorithm missing", forge.with_header(alg=...)
    for form, secret in _public_forms(forge.key.verifying_key):
        header = json.dumps({**forge.header, "alg": "HS256"}).encode()
        yield f"algorithm HS256 keyed with the public {form}", hs256(header, forge.payload(), secret)
    for algorithm in Algorithm:
        if algorithm is not forge.key.algorithm:
            stranger = generate_signing_key(algorithm) if algorithm is not Algorithm.RS256 else None
            header = json.dumps({**forge.header, "alg": algorithm.value}).encode()
            yield f"algorithm {algorithm} of a stranger", forge.sign(header, forge.payload(), stranger)


def _public_forms(key: VerifyingKey) -> Iterator[tuple[str, bytes]]:
    yield "kid", key.kid.encode()
    yield "empty key", b""
    if key.algorithm is not Algorithm.HS256:
        pem = key.jose_key.to_pem()
        yield "PEM", pem
        yield "PEM without the last line end", pem.rstrip()
        yield "DER", base64.b64decode(b"".join(pem.splitlines()[1:-1]))
        yield "JWK", json.dumps(key.public_jwk()).encode()
        yield "JWKS", json.dumps({"keys": [key.public_jwk()]}).encode()


def _headers(forge: Forge) -> Corpus:
    for typ in ("JWT", "jwt", "at+JWT", "application/at+jwt", "rt+jwt", "", None, 1, ["at+jwt"], ...):
        yield f"header typ {typ!r}", forge.with_header(typ=typ)
    ours = forge.key.kid
    kids = (
        "", "unknown", "../../../../dev/null", "/etc/passwd", "' OR '1'='1", "x' UNION SELECT 'secret' --",
        "*)(uid=*", "http://169.254.169.254/", "\0", ours + "\0", ours.swapcase(), ours + " ", ours[:-1],
        None, 0, True, [ours], {"kid": ours}, ...,
    )  # fmt: skip
    for kid in kids:
        yield f"header kid {kid!r}", forge.with_header(kid=kid)
    injected: dict[str, Any] = {
        "crit": ["exp"], "b64": False, "jwk": {"kty": "oct", "k": "AAAA"}, "jku": "http://127.0.0.1:1/jwks.json",
        "x5u": "http://127.0.0.1:1/cert.pem", "x5c": ["MIIB"], "x5t": "AAAA", "zip": "DEF", "enc": "A256GCM",
        "cty": "JWT", "p2c": 2**31, "anything": "else",
    }  # fmt: skip
    for name, value in injected.items():
        yield f"header with {name}", forge.with_header(**{name: value})
    yield "header with crit, empty", forge.with_header(crit=[])
    yield "header with crit and b64", forge.with_header(crit=["b64"], b64=False)
    good = json.dumps(forge.header)
    for name, value in forge.header.items():
        yield f"header with {name} twice", forge.with_raw_header(f'{good[:-1]}, "{name}": "{value}"}}')
        yield f"header with {name} twice, other first", forge.with_raw_header(f'{{"{name}": "x", {good[1:]}')
    for depth in (2, 100, 240, 1_100):
        nested = "[" * depth + "]" * depth
        yield f"header nested {depth} lists", forge.with_raw_header(f'{good[:-1]}, "x": {nested}}}')
        yield f"header only {depth} open lists", forge.with_raw_header("[" * depth)
    for depth in (2, 80, 600):
        nested = '{"a":' * depth + "1" + "}" * depth
        yield f"header nested {depth} objects", forge.with_raw_header(f'{good[:-1]}, "x": {nested}}}')
    documents = ("", "null", "1", '"x"', "[]", "{}", "[1]", "{", good[:-1], good + good, good + "x", "NaN")
    for document in documents:
        yield f"header document {document[:20]!r} ({len(document)})", forge.with_raw_header(document)
    yield "header too long", forge.with_raw_header(good + " " * 600)
    yield "header with a byte order mark", forge.with_raw_header("\ufeff" + good)
    yield "header in UTF-16", forge.sign(good.encode("utf-16"), forge.payload())
    yield "header in invalid UTF-8", forge.sign(good.encode() + b"\xff", forge.payload())
    yield "header number 1e400", forge.with_raw_header(f'{good[:-1]}, "x": 1e400}}')


def _claims(forge: Forge) -> Corpus:
    everywhere = {
        "null": "null", "NaN": "NaN", "Infinity": "Infinity", "1e400": "1e400", "object": '{"a": 1}',
        "list of numbers": "[1]", "nested list": '[["a"]]', "true": "true",
    }  # fmt: skip
    instants = (
        '"{0}"', "{0}.5", "{0}e1", "-{0}", "0", "-1", "9" * 20, "9" * 900, "253402300800", "[{0}]"
    )  # fmt: skip
    for name in (*INSTANTS, *TEXTS, *LISTS):
        yield f"claim {name} missing", forge.with_claims(**{name: ...})
        for form, value in everywhere.items():
            yield f"claim {name} {form}", forge.with_claims(**{name: value})
    for name in INSTANTS:
        for value in instants:
            raw = value.format(forge.claims[name])
            yield f"claim {name} {value[:12]} ({len(value)})", forge.with_claims(**{name: raw})
    for name in TEXTS:
        good = json.loads(forge.claims[name])
        yield f"claim {name} in a list", forge.with_claims(**{name: json.dumps([good])})
        yield f"claim {name} a number", forge.with_claims(**{name: "1"})
        for form, bad in {"NUL": "\0", "line feed": "\n", "lone surrogate": "\ud800", "DEL": "\x7f"}.items():
            yield f"claim {name} with {form}", forge.with_claims(**{name: json.dumps(good + bad)})
        if name != "scope":
            yield f"claim {name} empty", forge.with_claims(**{name: '""'})
    for name in LISTS:
        yield f"claim {name} a text", forge.with_claims(**{name: '"admin"'})
        yield f"claim {name} with an empty text", forge.with_claims(**{name: '["", "user"]'})
        yield f"claim {name} with null", forge.with_claims(**{name: '["user", null]'})
    yield from _foreign_claims(forge)


def _foreign_claims(forge: Forge) -> Corpus:
    iss, aud = json.loads(forge.claims["iss"]), json.loads(forge.claims["aud"])
    wrong_iss = (
        iss + "/",
        iss + ".evil.example",
        iss[:-1],
        iss[:3],
        iss.upper(),
        " " + iss,
        "https://evil.example",
    )
    wrong_aud = (
        aud + "2",
        aud[:-1],
        aud[1:],
        aud.upper(),
        aud + " ",
        "*",
        "authapi/other",
        "https://evil.example",
    )
    for bad in wrong_iss:
        yield f"claim iss {bad!r}", forge.with_claims(iss=json.dumps(bad))
    for bad in wrong_aud:
        yield f"claim aud {bad!r}", forge.with_claims(aud=json.dumps(bad))
    yield "claim aud with another", forge.with_claims(aud=json.dumps([aud, "other"]))
    yield "claim aud empty list", forge.with_claims(aud="[]")
    yield "claim sub of another user", forge.with_claims(sub='"somebody-else"')
    yield "claim user_id of another user", forge.with_claims(user_id='"somebody-else"')
    client_id = forge.claims["client_id"]
    yield "claim sub is the client", forge.with_claims(sub=client_id, user_id=client_id)
    yield "claim role not among roles", forge.with_claims(role='"superadmin"')
    yield "claim roles empty with a role", forge.with_claims(roles="[]")
    for scope in (" ", "a  b", " a", "a ", 'a"b', "a\\b", "a,ü"):
        yield f"claim scope {scope!r}", forge.with_claims(scope=json.dumps(scope))
    iat, exp = int(forge.claims["iat"]), int(forge.claims["exp"])
    earlier = 2 * iat - exp - 3600
    yield "claim exp long past", forge.with_claims(iat="1000", auth_time="1000", exp="2000")
    yield "claim exp an hour ago", forge.with_claims(iat=earlier - 1, auth_time=earlier - 1, exp=earlier)
    yield "claim exp before iat", forge.with_claims(exp=iat - 1)
    yield "claim exp equal to iat", forge.with_claims(exp=iat)
    yield "claim iat in the future", forge.with_claims(iat=exp + 3600, exp=exp + 7200)
    yield "claim auth_time in the future", forge.with_claims(auth_time=exp + 3600)
    for nbf in (str(exp + 3600), "null", "NaN", "1e400", '"1"', "true", "[]", "1.5", "-1"):
        yield f"claim nbf {nbf}", forge.with_claims(nbf=nbf)
    yield "claim unknown, an object", forge.with_claims(cnf='{"jkt": "x"}')
    yield "claim unknown, null", forge.with_claims(extra="null")
    yield "claim unknown, Infinity", forge.with_claims(extra="-Infinity")


def _documents(forge: Forge) -> Corpus:
    good = forge.payload()
    for name, value in forge.claims.items():
        yield f"payload with {name} twice", forge.with_payload(good[:-1] + f',"{name}":{value}}}'.encode())
    escaped = good[:-1] + b',"\\u0065xp":9999999999}'
    yield "payload with exp twice, once escaped", forge.with_payload(escaped)
    for depth in (2, 500, 1_100):
        nested = b"[" * depth + b"]" * depth
        yield f"payload nested {depth}", forge.with_payload(good[:-1] + b',"x":' + nested + b"}")
        yield f"payload only {depth} open lists", forge.with_payload(b"[" * depth)
    documents = (b"null", b"1", b'"x"', b"[]", b"{}", b"{", b"NaN", b"\xff", b"[" + good + b"]", good + b"x")
    for document in documents:
        yield f"payload document {document[:12]!r} ({len(document)})", forge.with_payload(document)
    yield "payload in UTF-16", forge.with_payload(good.decode().encode("utf-16"))
    yield "payload in UTF-8 with a byte order mark", forge.with_payload(b"\xef\xbb\xbf" + good)
    yield "payload in Latin-1", forge.with_payload(good[:-1] + ',"name":"Zoë"}'.encode("latin-1"))
    yield "payload in overlong UTF-8", forge.with_payload(good[:-1] + b',"name":"\xc0\x80"}')
    yield "payload huge", forge.with_payload(good[:-1] + b',"x":"' + b"a" * 100_000 + b'"}')
    yield "payload one size too large", forge.with_payload(good[:-1] + b',"x":"' + b"a" * 4096 + b'"}')


def _spellings(forge: Forge) -> Corpus:
    good = forge.good()
    header, payload, signature = good.split(".")
    yield "spelling empty", ""
    yield "spelling dots", ".."
    yield "spelling one part", header
    yield "spelling two parts", f"{header}.{payload}"
    yield "spelling four parts", f"{good}.{signature}"
    yield "spelling five parts, a JWE", f"{header}.{payload}.{signature}.{payload}.{signature}"
    yield "spelling empty header", f".{payload}.{signature}"
    yield "spelling empty payload", f"{header}..{signature}"
    flattened = {"protected": header, "payload": payload, "signature": signature}
    yield "spelling JSON serialization", json.dumps(flattened)
    tails = "= == !! A AAAA \0 %3D é \u200b \ud800 ,x . / + \x7f".split(" ")
    for tail in (*tails, " ", "\n", "\r\n"):
        yield f"spelling followed by {tail!r}", good + tail
    for lead in (" ", "\n", "\t", "\ufeff", ".", "Bearer ", "Bearer", '"', "="):
        yield f"spelling after {lead!r}", lead + good
    middle = len(header) // 2
    for inside in (" ", "\n", "=", "+", "/", "\0", "!", "ｅ"):
        yield f"spelling with {inside!r} in the header", good[:middle] + inside + good[middle:]
    for position, part in enumerate((header, payload, signature)):
        for variant in _same_bytes(part):
            parts = [header, payload, signature]
            parts[position] = variant
            yield f"spelling {variant[-4:]!r} ends part {position}", ".".join(parts)
    yield "spelling upper case", good.upper()
    yield "spelling reversed", good[::-1]
    yield "spelling 'null'", "null"
    yield "spelling 'undefined'", "undefined"
    yield "spelling of 1 MB", "A" * 1_000_000
    yield "spelling of 1 MB of dots", "." * 1_000_000
    yield "spelling full width", good.translate({ord(c): ord(c) + 0xFEE0 for c in "abcdefghij"})


def _same_bytes(part: str) -> Iterator[str]:
    """Other texts that a lenient base64 reader takes for the same bytes."""
    yield part + "=" * (-len(part) % 4 or 4)
    if "-" in part or "_" in part:
        yield part.replace("-", "+").replace("_", "/")
    unused_bits = {2: 4, 3: 2}.get(len(part) % 4, 0)
    last = _ALPHABET.index(part[-1])
    for bits in range(1, 2**unused_bits):
        yield part[:-1] + _ALPHABET[last ^ bits]


def _signatures(forge: Forge, other_key: SigningKey) -> Corpus:
    good = forge.good()
    header, payload, signature = good.split(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    forged = forge.sign(json.dumps(forge.header).encode(), forge.payload(), other_key)
    yield "signature of another key", forged
    stranger = json.dumps({**forge.header, "kid": other_key.kid}).encode()
    yield "signature of another key under its own kid", forge.sign(stranger, forge.payload(), other_key)
    another = forge.with_claims(jti='"x"').split(".")[2]
    yield "signature of another token", f"{header}.{payload}.{another}"
    yield "signature cut short", f"{header}.{payload}.{encode(raw[:-1])}"
    yield "signature too long", f"{header}.{payload}.{encode(raw + bytes(1))}"
    yield "signature twice", f"{header}.{payload}.{encode(raw + raw)}"
    half = len(raw) // 2
    yield "signature with swapped halves", f"{header}.{payload}.{encode(raw[half:] + raw[:half])}"
    yield "signature of ones", f"{header}.{payload}.{encode(bytes([255]) * len(raw))}"
    # a signature (0, 0) once passed in other libraries (CVE-2022-21449)
    yield "signature of zeros", f"{header}.{payload}.{encode(bytes(len(raw)))}"
    for bit in range(0, len(raw) * 8, 7):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"signature bit {bit} flipped", f"{header}.{payload}.{encode(bytes(flipped))}"
    changed = encode(forge.payload(jti='"x"'))
    yield "signature kept, payload changed", f"{header}.{changed}.{signature}"
    spaced = encode(json.dumps(forge.header, indent=1).encode())
    yield "signature kept, header spelled otherwise", f"{spaced}.{payload}.{signature}"
