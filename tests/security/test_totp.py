"""One-time passwords: the vectors of the RFC through our own module, and the steps around the present one."""

from base64 import b32encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyotp
import pytest

from authapi.security import totp

# RFC 6238 appendix B, the rows of SHA-1: seconds, step, eight digits.
VECTORS = [
    (59, 0x0000000000000001, "94287082"),
    (1111111109, 0x00000000023523EC, "07081804"),
    (1111111111, 0x00000000023523ED, "14050471"),
    (1234567890, 0x000000000273EF07, "89005924"),
    (2000000000, 0x0000000003F940AA, "69279037"),
    (20000000000, 0x0000000027BC86AA, "65353130"),
]
SECRET = b32encode(b"12345678901234567890").decode()
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class TestVectors:
    @pytest.mark.parametrize(("seconds", "step", "digits"), VECTORS)
    def test_the_six_digits_that_apps_show(self, seconds: int, step: int, digits: str) -> None:
        """Six digits are the eight ones modulo 10**6 (RFC 4226 section 5.3)."""
        now = datetime.fromtimestamp(seconds, UTC)
        assert totp.matching_step(SECRET, digits[-6:], now=now) == step
        assert pyotp.TOTP(SECRET, digits=8).at(now) == digits

    @pytest.mark.parametrize(("seconds", "step", "digits"), VECTORS)
    def test_nothing_else_fits(self, seconds: int, step: int, digits: str) -> None:
        now = datetime.fromtimestamp(seconds, UTC)
        for wrong in (digits, digits[:6], f"{(int(digits[-6:]) + 1) % 10**6:06}", digits[-6:] + "\n"):
            assert totp.matching_step(SECRET, wrong, now=now) is None


class TestSteps:
    @pytest.mark.parametrize("second", [0, 1, 29])
    @pytest.mark.parametrize(
        ("steps", "is_accepted"), [(-3, False), (-2, False), (-1, True), (0, True), (1, True), (2, False)]
    )
    def test_one_of_drift_either_way(self, second: int, steps: int, is_accepted: bool) -> None:
        now = NOON + timedelta(seconds=second)
        code = pyotp.TOTP(SECRET).at(now + steps * totp.STEP)
        expected = int(NOON.timestamp()) // 30 + steps if is_accepted else None
        assert totp.matching_step(SECRET, code, now=now) == expected

    def test_the_clock_across_a_step(self) -> None:
        """A code lives from the second its own step's predecessor begins to the last of its successor."""
        code, lasting = pyotp.TOTP(SECRET).at(NOON), timedelta(seconds=30)
        for now, is_accepted in (
            (NOON - lasting - timedelta(microseconds=1), False),
            (NOON - lasting, True),
            (NOON + 2 * lasting - timedelta(microseconds=1), True),
            (NOON + 2 * lasting, False),
        ):
            assert (totp.matching_step(SECRET, code, now=now) is not None) is is_accepted

    @pytest.mark.parametrize("code", ["", "12345", "1234567", "12 345", "１２３４５６", "-12345", "12345a"])
    def test_what_is_no_code(self, code: str) -> None:
        assert totp.matching_step(SECRET, code, now=NOON) is None


class TestRecoveryCodes:
    def test_are_ten_of_120_bits(self) -> None:
        codes = totp.generate_recovery_codes()
        assert len(set(codes)) == 10
        assert {len(code.replace("-", "")) for code in codes} == {120 // 5}

    def test_a_digest_is_bound_to_its_user_and_his_app(self) -> None:
        (code, *_) = totp.generate_recovery_codes()
        ada, bob = UUID(int=1), UUID(int=2)
        digest = totp.recovery_code_digest(code, user_id=ada, secret=SECRET)
        spoken = code.lower().replace("-", " ")
        assert totp.recovery_code_digest(spoken, user_id=ada, secret=SECRET) == digest
        assert totp.recovery_code_digest(code, user_id=bob, secret=SECRET) != digest
        other = totp.generate_secret()
        assert totp.recovery_code_digest(code, user_id=ada, secret=other) != digest
