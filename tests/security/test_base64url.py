"""One value, one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authapi.security import base64url


class TestBase64url:
    @given(raw=st.binary())
    def test_round_trip(self, raw: bytes) -> None:
        assert base64url.decode(base64url.encode(raw)) == raw

    @given(text=st.text())
    def test_reads_its_own_spelling_only(self, text: str) -> None:
        try:
            raw = base64url.decode(text)
        except ValueError:
            return
        assert base64url.encode(raw) == text

    @pytest.mark.parametrize(
        "text", ["A", "AB", "AA=", "AA==", "AA ", "A A", "AA\n", "+/8", "A!A", "ÄÄ", "\ud800"]
    )
    def test_refused(self, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - the library words it
            base64url.decode(text)
