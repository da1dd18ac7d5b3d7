from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from authapi.errors import BadRequest, MalformedRequest, NumberOutOfRange, UnstorableText
from authapi.strict_json import MAX_DEPTH, check_target, parse_json, parse_pairs
from tests.support.hostile_json import HOSTILE_JSON, MALFORMED, WELL_FORMED
from tests.support.shell_app import build_shell

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=build_shell())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class TestHostileBodies:
    def test_corpus_is_large_enough(self) -> None:
        assert len(HOSTILE_JSON) >= 318
        assert len(set(HOSTILE_JSON.values())) == len(HOSTILE_JSON)

    async def test_malformed_ones_never_reach_a_model(self, client: httpx.AsyncClient) -> None:
        wrong = {}
        for name, body in MALFORMED.items():
            response = await client.post("/api/login", content=body, headers=JSON)
            expected = 413 if len(body) > 65_536 else 400
            if response.status_code != expected or response.json()["success"] is not False:
                wrong[name] = response.status_code
        assert wrong == {}

    async def test_well_formed_ones_are_refused_by_the_model(self, client: httpx.AsyncClient) -> None:
        wrong = {}
        for name, body in WELL_FORMED.items():
            response = await client.post("/api/login", content=body, headers=JSON)
            if response.status_code != 422 or len(response.content) > 8_192:
                wrong[name] = response.status_code
        assert wrong == {}


class TestParseJson:
    @pytest.mark.parametrize(
        ("raw", "value"),
        [
            (b" {} ", {}),
            (b"null", None),
            ('"ü😀"'.encode(), "ü😀"),
            (rb'"\ud83d\ude00"', "😀"),
            (rb'"\\u0000"', r"\u0000"),
            (b"9223372036854775807", 2**63 - 1),
            (b"-9223372036854775808", -(2**63)),
            (b"1.5e3", 1500.0),
            (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
        ],
    )
    def test_ordinary_json(self, raw: bytes, value: Any) -> None:
        parsed = parse_json(raw)
        assert raw.startswith(b"[") or parsed == value

    @pytest.mark.parametrize(
        ("raw", "error"),
        [
            (rb'{"a":"b\u0000"}', UnstorableText),
            (rb'{"a\u0000":1}', UnstorableText),
            (rb'["\ud800"]', UnstorableText),
            (b"9223372036854775808", NumberOutOfRange),
            (b'{"a":[-9223372036854775809]}', NumberOutOfRange),
            (b"1" * 60_000, NumberOutOfRange),
            (b"1e400", NumberOutOfRange),
            (b"NaN", MalformedRequest),
            (b"{", MalformedRequest),
            (b'{"a":1,"a":1}', MalformedRequest),
            (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), MalformedRequest),
        ],
    )
    def test_refusal_says_what_is_wrong(self, raw: bytes, error: type[MalformedRequest]) -> None:
        with pytest.raises(MalformedRequest) as caught:
            parse_json(raw)
        assert type(caught.value) is error

    async def test_it_reaches_the_client(self, client: httpx.AsyncClient) -> None:
        for body, message in ((rb'{"email":"a\u0000"}', "NUL"), (b'{"email":1e400}', "64 bits")):
            response = await client.post("/api/login", content=body, headers=JSON)
            assert (response.status_code, response.json()["error"]["code"]) == (400, "malformed_request")
            assert message in response.json()["message"]

    def test_refusal_quotes_nothing(self) -> None:
        with pytest.raises(MalformedRequest) as caught:
            parse_json(b'{"password":"hunter2"')
        assert "hunter2" not in repr(caught.value)
        assert caught.value.__suppress_context__


class TestContentType:
    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            'application/json;charset="UTF-8"',
            "application/json; charset=utf8; x=1",
        ],
    )
    async def test_accepted(self, client: httpx.AsyncClient, content_type: str) -> None:
        body = b'{"email":"a@example.com","password":"secret"}'
        response = await client.post("/api/login", content=body, headers={"Content-Type": content_type})
        assert response.status_code == 200

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/x+json",
            "application/vnd.api+json",
            "application/problem+json",
            "application/jsonp",
            "application/json; charset=utf-16",
            "application/json; charset=latin-1",
            "application/json; charset=utf-8; charset=utf-16",
            "text/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded",
            "",
            None,
        ],
    )
    async def test_refused_because_it_needs_no_preflight_or_guesses(
        self, client: httpx.AsyncClient, content_type: str | None
    ) -> None:
        body = b'{"email":"a@example.com","password":"secret"}'
        headers = {} if content_type is None else {"Content-Type": content_type}
        response = await client.post("/api/login", content=body, headers=headers)
        assert response.status_code in {400, 422}
        assert "secret" not in response.text


class TestForm:
    @pytest.mark.parametrize(
        ("body", "values"),
        [
            (b"username=a%40example.com&password=p+w%26%3D", ("a@example.com", "p w&=")),
            (b"username=%C3%BC&password=%F0%9F%98%80", ("ü", "😀")),
            (b"username=a&password=b&unknown=ignored", ("a", "b")),
        ],
    )
    async def test_accepted(self, client: httpx.AsyncClient, body: bytes, values: tuple[str, str]) -> None:
        response = await client.post("/api/token", content=body, headers=FORM)
        assert response.status_code == 200
        assert tuple(response.json().values()) == values

    @pytest.mark.parametrize(
        "body",
        [
            b"username=a&password=b&password=c",
            b"username=a&username=a&password=b",
            b"username=a&user%6Eame=b&password=b",
            b"username=a%00&password=b",
            b"username=a&password=\x00",
            b"username=a&pass%00word=b&password=b",
            b"username=%ff&password=b",
            b"username=%C0%80&password=b",
            b"username=%ED%A0%80&password=b",
            b"username=%&password=b",
            b"username=%zz&password=b",
            b"username=100%&password=b",
            b"username=\xc3\xbc&password=b",
            b"&".join(b"a%d=1" % number for number in range(101)),
            "username=a&password=b".encode("utf-16"),
        ],
    )
    async def test_refused(self, client: httpx.AsyncClient, body: bytes) -> None:
        response = await client.post("/api/token", content=body, headers=FORM)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "malformed_request"

    @pytest.mark.parametrize(
        "content_type",
        [
            "multipart/form-data; boundary=x",
            "application/json",
            "text/plain",
            f"{FORM['Content-Type']}; charset=utf-16",
        ],
    )
    async def test_other_encodings_are_refused(self, client: httpx.AsyncClient, content_type: str) -> None:
        body = b"username=a&password=b"
        response = await client.post("/api/token", content=body, headers={"Content-Type": content_type})
        assert response.status_code == 400

    async def test_empty_form_lacks_its_fields(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/api/token", headers=FORM)
        assert response.status_code == 422


class TestTarget:
    @pytest.mark.parametrize("query", ["", "q=a", "q=%C3%BC", "q=a+b&other=1", "q", "q=", "&&q=1&"])
    async def test_accepted(self, client: httpx.AsyncClient, query: str) -> None:
        response = await client.get(f"/api/search?{query}")
        assert response.status_code == 200

    @pytest.mark.parametrize(
        "query",
        [
            "q=%00",
            "%00=1",
            "q=%FF",
            "q=%ED%A0%80",
            "q=%C0%AF",
            "q=%",
            "q=%u0041",
            "q=1&q=2",
            "q=1&%71=2",
            "x=1&x=1",
        ],
    )
    async def test_refused(self, client: httpx.AsyncClient, query: str) -> None:
        response = await client.get(f"/api/search?{query}")
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "bad_request"

    @pytest.mark.parametrize("raw_path", [b"/items/%00", b"/items/%ff", b"/items/%ed%a0%80"])
    def test_path(self, raw_path: bytes) -> None:
        with pytest.raises(BadRequest):
            check_target({"raw_path": raw_path, "path": "/items/x", "query_string": b"", "headers": []})

    def test_raw_bytes_in_the_query(self) -> None:
        with pytest.raises(BadRequest):
            check_target({"path": "/", "query_string": b"q=\xc3\xbc", "headers": []})

    @pytest.mark.parametrize("name", [b"authorization", b"content-type", b"host"])
    def test_second_header(self, name: bytes) -> None:
        with pytest.raises(BadRequest):
            check_target({"path": "/", "query_string": b"", "headers": [(name, b"a"), (name, b"a")]})

    def test_pairs_keep_order_and_blanks(self) -> None:
        assert parse_pairs(b"b=&a=1+2&c") == [("b", ""), ("a", "1 2"), ("c", "")]
