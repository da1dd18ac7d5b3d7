"""JSON that two readers could understand differently is refused."""

import pytest

from authapi.security.strict_json import parse_object


class TestParseObject:
    def test_object(self) -> None:
        document = '{"a": 1, "b": ["ü", true, null], "c": {"a": -2}} '
        assert parse_object(document.encode()) == {"a": 1, "b": ["ü", True, None], "c": {"a": -2}}

    @pytest.mark.parametrize(
        "document",
        [
            '{"a": 1, "a": 1}',
            '{"a": 1, "\\u0061": 2}',
            '{"x": {"a": 1, "a": 2}}',
            '{"a": NaN}',
            '{"a": Infinity}',
            '{"a": -Infinity}',
            '{"a": 1e400}',
            '{"a": 1.0}',
            '{"a": 1e1}',
            '{"a": 01}',
            '{"a": ' + "9" * 5_000 + "}",
            '\ufeff{"a": 1}',
            '{"a": 1,}',
            '{"a": 1}{}',
            "{'a': 1}",
            '{"a": "\n"}',
            "[]",
            "null",
            "1",
            '"{}"',
            "",
        ],
        ids=lambda document: document[:20],
    )
    def test_refused(self, document: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - the parser words it, and nobody is shown it
            parse_object(document.encode())

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
    def test_other_encodings(self, encoding: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - as above
            parse_object('{"a": "ü"}'.encode(encoding))
