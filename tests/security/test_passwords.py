"""ASVS 6.2.8, 6.2.9, 11.4.2, SP 800-63B 3.1.1.2: what is hashed, what verifies, is replaced, is refused."""

import base64
import hashlib
import logging
import subprocess
import sys
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authapi.security import passwords
from authapi.security.passwords import (
    PasswordHasher,
    PasswordNotHashable,
    PasswordTooLong,
    PepperRing,
    Verification,
)

PASSWORD = "correct horse"
PEPPER = b"a pepper of at least 14 bytes"
OTHER_PEPPER = b"another pepper, newer than it"
HASHER = PasswordHasher(rounds=4)
STORED = HASHER.hash(PASSWORD)

# Made by passlib, except the crypt vectors of Drepper's specification further down.
FOREIGN = [
    ("bcrypt", "$2b$04$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne"),
    ("scrypt", "$scrypt$ln=4,r=8,p=1$pXSuNcY4B+AcY8zZGyPEOA$kmKmbpPJJRQNfjq0dePpzVhqdiMu8ZGR3DiKJQ9Lm/U"),
    ("pbkdf2_sha1", "$pbkdf2$4$I0RIqXUOoVTKec8ZI0QIwQ$EpGaD2Fd81bE6QdXOQgZbrPqYpc"),
    ("pbkdf2_sha256", "$pbkdf2-sha256$4$BiCEcK7V.r93DkGoFQKAUA$lZ93AtWLeQDzndM/rZWVa1dHXv8hkBiQY5PY0l8bKoQ"),
    (
        "pbkdf2_sha512",
        "$pbkdf2-sha512$4$sbYWIgRASEmpdU4JgbBWKg$"
        "AopXAidYWPwbtpX2wwNxsU8zsXTD5dQxoQywm91Y4JBaMrpURIm7KtqzkzYgf6SvS6oWSP85vAoE/Di47pzA/A",
    ),
    ("django_pbkdf2_sha1", "pbkdf2_sha1$4$s0wyUzRw33IZ$cxVinQpuqkWuMCwydUefhipQqVA="),
    ("django_pbkdf2_sha256", "pbkdf2_sha256$4$9PFb076F64tP$1fG/toKPrhsBcmiF7cJUxhoxyjhZylkxG/DLmQIp1wc="),
    ("bcrypt", "bcrypt$$2b$04$BBsLtJymBZPIFh9UvKMzNersm2a5hO3hLplkwVE6hehBSsTzDFkdO"),
    ("bcrypt", "{bcrypt}$2b$04$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne"),
    ("bcrypt", "{CRYPT}$2b$04$A1AG6PJw.fUwYZfRtNpsae0oUXtb9Sttk2FEpw7GuL1.evT9LHdsu"),
    ("bcrypt", "$2y$04$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne"),
    (
        "django_bcrypt_sha256",
        "bcrypt_sha256$$2b$04$n5KSduBgDJTCi.3dithDcutJmZX57ehNt7WAzqg3pNmCSN9FDRTgu",
    ),
    # Made by the reference implementation; the second is Django's.
    (
        "argon2",
        "$argon2id$v=19$m=256,t=1,p=1$yYLztxUk+rWXZZTgnVYRoA$t7UvsEzYTVr0OfRC5hzxdIaZ0QHSIPDB/aYzRcauNXM",
    ),
    (
        "argon2",
        "argon2$argon2i$v=19$m=512,t=2,p=2$ZT3SqJxgp3AoIALW3L9UDw$fvLLyiIfb6Hi6QzpTJ6/NzsD+9IQc6Cyw+OHCyAc7Qg",
    ),
    (
        "argon2",
        "{argon2}$argon2id$v=19$m=256,t=1,p=1$szptc/1SHSb2LtJ2eUhfbw$sJleDT1vuFhbKiBjXOeQTlm7Sb9TNNuMFJh9W5GuZ7o",
    ),
    ("phpass", "$P$5cXKccwBnFbdLYJsZejMFg8r6A0uxi1"),
    ("sha256_crypt", "$5$rounds=1000$jlxfVRrYKKcdiRhv$/9dB/fw5MsrAEKCkQ9/AS/sQDzM2iRkF.2OYlEey8K."),
    (
        "sha512_crypt",
        "{CRYPT}$6$rounds=1000$M1ssE1TVCf7B.mXx$"
        "An.fOuI0JnQuHIS9cKbicO/jW6JVyiEmSMRbweDNnNVwV2RQPpAtzor7rjh3eLlLZAlyIw5Tn9dI9r9ZXQwC1/",
    ),
    ("atlassian_pbkdf2_sha1", "{PKCS5S2}cw6hFILw/l+r1RpjDCGkVItXI+ZQSPdFFATWDCjJqEHGYv+Gg0Yf2vGmXgXdccqp"),
    ("md5_crypt", "$1$1Uv0u12/$7Wvx3yXepGul4x7Qjo1vd1"),
    ("apr_md5_crypt", "$apr1$rFg0MnDD$hDizpJegLbIG61Q/BREJk."),
    ("django_salted_sha1", "sha1$oZ6pxpJpOFwc$91842d70856da37b9330b270423b92ae4a1a5809"),
    ("ldap_salted_sha1", "{SSHA}GkdukSUYd3yZLe/q19dpcwagQg1jLMWY"),
    ("ldap_salted_sha256", "{SSHA256}fnDBSJ+Bu2u0EG9h8hRSXPADGVMBBGtdPwchbf7IBTp2rnVujTHm3A=="),
    (
        "ldap_salted_sha512",
        "{SSHA512}W7dGCH2uBarTuBo1o6L+PIuhf1xXmUBJVW4S6X7j1KE6yFbAFROg0e9a05cByzMKGQs8YyZ5x6ALI8zss2Vxf57z"
        "HsN4D4HQ",
    ),
    ("ldap_salted_md5", "{SMD5}L+dcDsQ+j6PwtoOP9cz6dndOaY0="),
    ("pbkdf2_sha1", "{PBKDF2}4$rPWes/Y.57yXsrZ2DqE0Bg$qpPmGLDPwXPflVar0y0zlaY/J5Y"),
    ("pbkdf2_sha256", "{PBKDF2-SHA256}4$Z8z5fy.F0JrzXuv9P2ds7Q$ntK8K.KHukt3tOPjzzUxVhyhGuFanp0PA5sdiyh0lxM"),
    (
        "pbkdf2_sha512",
        "{PBKDF2-SHA512}4$AeAcw9jbm/PeGwMgZCwl5A$"
        "gfb2kzGEUMiIl.7GI9PCfQhIaRmcdyFjD0a5HCml2.DzGOxZcAwXwUQJq7SkK2w.ihUC2uG45Zi4DplnBVQjSQ",
    ),
    ("bcrypt_sha256", "$bcrypt-sha256$2a,5$5Hg1DKFqPE8C2aflZ5vVoe$12BjNE0p7axMg55.Y/mHsYiVuFBDQyu"),
]

ABSURD = [
    "$2b$15$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne",
    "$2b$31$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne",
    "bcrypt_sha256$$2b$31$n5KSduBgDJTCi.3dithDcutJmZX57ehNt7WAzqg3pNmCSN9FDRTgu",
    "$bcrypt-sha256$v=2,t=2b,r=31$" + "." * 22 + "$" + "." * 31,
    "pbkdf2_sha256$4294967295$9PFb076F64tP$1fG/toKPrhsBcmiF7cJUxhoxyjhZylkxG/DLmQIp1wc=",
    "{PBKDF2}2500001$rPWes/Y.57yXsrZ2DqE0Bg$qpPmGLDPwXPflVar0y0zlaY/J5Y",
    "$scrypt$ln=18,r=8,p=1$pXSuNcY4B+AcY8zZGyPEOA$kmKmbpPJJRQNfjq0dePpzVhqdiMu8ZGR3DiKJQ9Lm/U",
    "$scrypt$ln=4,r=8,p=100000$pXSuNcY4B+AcY8zZGyPEOA$kmKmbpPJJRQNfjq0dePpzVhqdiMu8ZGR3DiKJQ9Lm/U",
    "$P$IcXKccwBnFbdLYJsZejMFg8r6A0uxi1",
    "$5$rounds=999999999$jlxfVRrYKKcdiRhv$/9dB/fw5MsrAEKCkQ9/AS/sQDzM2iRkF.2OYlEey8K.",
]

MALFORMED = [
    "",
    " ",
    "!",
    "plain text",
    "*LK*",
    "$2b$04$short",
    "$2b$99$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne",
    "$2x$04$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne",
    "$2b$04$/IAwAG/0fVts.dx4ty6w0u",
    "$bcrypt-sha256$v=2,t=2b,r=4$" + "." * 22,
    "$bcrypt-sha256$v=9,t=2b,r=4$" + "." * 22 + "$" + "." * 31,
    "pbkdf2_sha256$" + "9" * 5000 + "$salt$digest",
    "pbkdf2_sha256$x$salt$digest",
    "{SSHA}####",
    "{SSHA}\udcff",
    "sha1$é$00",
    "$2b$04$\x00",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "$authapi-pepper$v=",
    "$authapi-pepper$v=00000000$2b$04$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne",
]


class TestHash:
    def test_is_bcrypt_sha256_of_the_configured_cost(self) -> None:
        assert STORED.startswith("$bcrypt-sha256$v=2,t=2b,r=4$")
        assert PasswordHasher(rounds=5).hash(PASSWORD).startswith("$bcrypt-sha256$v=2,t=2b,r=5$")

    def test_is_salted(self) -> None:
        assert len({HASHER.hash(PASSWORD) for _ in range(5)}) == 5

    def test_a_good_hash_verifies_without_replacement(self) -> None:
        assert HASHER.verify(PASSWORD, STORED) == Verification(matches=True, replacement=None)

    @pytest.mark.parametrize(
        "other", ["", "correct hors", "Correct horse", "correct horse ", " correct horse", "correct horse\0"]
    )
    def test_every_character_counts(self, other: str) -> None:
        assert HASHER.verify(other, STORED) == Verification(matches=False)

    def test_nothing_is_truncated(self) -> None:
        long = "x" * 72
        stored = HASHER.hash(long + "a")
        assert HASHER.verify(long + "a", stored).matches
        assert not HASHER.verify(long + "b", stored).matches
        assert not HASHER.verify(long, stored).matches
        assert not HASHER.verify("abc\0def", HASHER.hash("abc\0xyz")).matches

    @pytest.mark.parametrize("password", ["😀" * 64, "a" * 1024, "é" * 512, "nul\0inside", "\0", " ", ""])
    def test_takes_any_text_of_up_to_1024_bytes(self, password: str) -> None:
        assert HASHER.verify(password, HASHER.hash(password)).matches

    def test_one_password_in_two_normal_forms_is_one_password(self) -> None:
        composed, decomposed = (unicodedata.normalize(form, "pässwörd ½") for form in ("NFC", "NFD"))
        assert composed != decomposed
        assert HASHER.verify(decomposed, HASHER.hash(composed)).matches
        assert HASHER.verify("ｐaß", HASHER.hash("paß")).matches

    @pytest.mark.parametrize("password", ["a" * 1025, "é" * 513, "ﷺ" * 300, "Ａ" * 342])
    def test_too_long_is_refused_before_and_after_normalising(self, password: str) -> None:
        with pytest.raises(PasswordTooLong):
            HASHER.hash(password)
        assert not HASHER.verify(password, STORED).matches

    def test_a_megabyte_is_refused_unhashed(self) -> None:
        hasher = PasswordHasher(rounds=14)
        password = "é" * 500_000
        started = time.perf_counter()
        assert not hasher.verify(password, STORED).matches
        hasher.verify_dummy(password)
        assert time.perf_counter() - started < 0.1

    def test_lone_surrogates_are_refused_without_repeating_them(self) -> None:
        with pytest.raises(PasswordNotHashable) as caught:
            HASHER.hash("secret\ud800")
        assert caught.value.__cause__ is None
        assert "secret" not in str(caught.value)
        assert not HASHER.verify("secret\ud800", STORED).matches
        HASHER.verify_dummy("secret\ud800")

    @pytest.mark.parametrize("rounds", [3, 32])
    def test_impossible_rounds(self, rounds: int) -> None:
        with pytest.raises(ValueError, match="4 to 31"):
            PasswordHasher(rounds=rounds)

    def test_threads_share_a_hasher(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            hashes = list(pool.map(HASHER.hash, [str(n) for n in range(40)]))
            assert all(pool.map(lambda n: HASHER.verify(str(n), hashes[n]).matches, range(40)))

    def test_a_verification_hides_its_hash_from_logs(self) -> None:
        assert "bcrypt" not in repr(Verification(matches=True, replacement=STORED))


class TestReplacement:
    def test_a_cheaper_hash_is_replaced(self) -> None:
        replacement = PasswordHasher(rounds=5).verify(PASSWORD, STORED).replacement
        assert replacement is not None
        assert ",r=5$" in replacement
        assert PasswordHasher(rounds=5).verify(PASSWORD, replacement) == Verification(matches=True)

    def test_a_dearer_hash_stays(self) -> None:
        stored = PasswordHasher(rounds=6).hash(PASSWORD)
        assert HASHER.verify(PASSWORD, stored) == Verification(matches=True)

    @pytest.mark.parametrize(("scheme", "stored"), FOREIGN[:-1])
    def test_a_foreign_hash_verifies_and_is_replaced(self, scheme: str, stored: str) -> None:
        assert HASHER.identify(stored) == scheme
        outcome = HASHER.verify(PASSWORD, stored)
        assert outcome.matches
        assert outcome.replacement is not None
        assert HASHER.verify(PASSWORD, outcome.replacement) == Verification(matches=True)
        assert HASHER.verify("wrong horse", stored) == Verification(matches=False)

    def test_the_first_version_of_bcrypt_sha256_is_replaced(self) -> None:
        outcome = HASHER.verify("password", FOREIGN[-1][1])
        assert outcome.matches
        assert outcome.replacement is not None
        assert "v=2" in outcome.replacement

    def test_vector_of_the_sha_crypt_specification(self) -> None:
        stored = (
            "$6$rounds=10000$saltstringsaltst$"
            "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."
        )
        assert HASHER.verify("Hello world!", stored).matches

    def test_django_hash_computed_here(self) -> None:
        digest = hashlib.pbkdf2_hmac("sha256", b"correct horse", b"salt", 1000)
        stored = f"pbkdf2_sha256$1000$salt${base64.b64encode(digest).decode()}"
        assert HASHER.verify(PASSWORD, stored).matches

    def test_foreign_hashes_of_passwords_that_were_not_normalised(self) -> None:
        raw = "ｐassword½"
        digest = hashlib.sha1(raw.encode() + b"salt", usedforsecurity=False).digest()
        stored = "{SSHA}" + base64.b64encode(digest + b"salt").decode()
        outcome = HASHER.verify(raw, stored)
        assert outcome.matches
        assert HASHER.verify("password1⁄2", outcome.replacement or "").matches

    @pytest.mark.parametrize("stored", FOREIGN)
    def test_nul_in_a_password_never_raises(self, stored: tuple[str, str]) -> None:
        assert not HASHER.verify("correct\0horse", stored[1]).matches


class TestRefused:
    @pytest.mark.parametrize("stored", ABSURD)
    def test_absurd_cost_is_not_paid(self, stored: str, caplog: pytest.LogCaptureFixture) -> None:
        started = time.perf_counter()
        assert HASHER.verify(PASSWORD, stored) == Verification(matches=False)
        assert time.perf_counter() - started < 0.5
        assert HASHER.identify(stored) is None
        assert "more work than is allowed" in caplog.text
        assert stored not in caplog.text

    @pytest.mark.parametrize("stored", MALFORMED)
    def test_malformed_hash_is_a_mismatch(self, stored: str) -> None:
        assert HASHER.verify(PASSWORD, stored) == Verification(matches=False)
        assert HASHER.identify(stored) is None

    @given(stored=st.text(max_size=80))
    @settings(max_examples=50, deadline=None)
    def test_any_text_is_a_mismatch(self, stored: str) -> None:
        assert not HASHER.verify(PASSWORD, stored).matches

    @given(data=st.data())
    @settings(max_examples=150, deadline=None)
    def test_a_damaged_hash_never_raises(self, data: st.DataObject) -> None:
        stored = data.draw(st.sampled_from(FOREIGN))[1]
        position = data.draw(st.integers(0, len(stored) - 1))
        damage = data.draw(st.text(alphabet="$,=.{}0é", max_size=3))
        HASHER.verify("wrong horse", stored[:position] + damage + stored[position + 1 :])

    def test_the_dearest_cost_of_our_own_is_allowed(self) -> None:
        stored = "$bcrypt-sha256$v=2,t=2b,r=15$" + "." * 22 + "$" + "." * 31
        assert HASHER.identify(stored) is None
        assert PasswordHasher(rounds=15).identify(stored) == "bcrypt_sha256"

    @pytest.mark.parametrize(
        ("memory_cost", "rounds", "parallelism", "affordable"),
        [
            (19_456, 2, 1, True),
            (65_536, 3, 4, True),
            (1 << 18, 4, 16, True),
            (1 << 19, 1, 1, False),
            (1 << 18, 5, 1, False),
            (8, 1, 17, False),
        ],
    )
    def test_argon2_cost(self, memory_cost: int, rounds: int, parallelism: int, affordable: bool) -> None:
        cost = SimpleNamespace(memory_cost=memory_cost, rounds=rounds, parallelism=parallelism)
        assert passwords._IS_AFFORDABLE["argon2"](cost) is affordable


class TestPepper:
    OLD = PasswordHasher(rounds=4, pepper=PepperRing(current=PEPPER))

    def test_the_hash_names_the_pepper_and_needs_it(self, caplog: pytest.LogCaptureFixture) -> None:
        stored = self.OLD.hash(PASSWORD)
        key_id = PepperRing.key_id(PEPPER)
        assert stored.startswith(f"$authapi-pepper$v={key_id}$bcrypt-sha256$")
        assert self.OLD.verify(PASSWORD, stored) == Verification(matches=True)
        assert not self.OLD.verify("wrong", stored).matches
        # The database alone is not enough to test a guess.
        assert not HASHER.verify(PASSWORD, stored).matches
        assert not HASHER.verify(PASSWORD, stored.removeprefix(f"$authapi-pepper$v={key_id}")).matches
        assert f"needs the pepper {key_id}" in caplog.text

    def test_identify_looks_through_the_prefix(self) -> None:
        stored = self.OLD.hash(PASSWORD)
        assert self.OLD.identify(stored) == "bcrypt_sha256"
        assert HASHER.identify(stored) is None

    def test_rotation(self) -> None:
        stored = self.OLD.hash(PASSWORD)
        rotated = PasswordHasher(rounds=4, pepper=PepperRing(current=OTHER_PEPPER, previous=[PEPPER]))
        replacement = rotated.verify(PASSWORD, stored).replacement
        assert replacement is not None
        assert PepperRing.key_id(OTHER_PEPPER) in replacement
        assert rotated.verify(PASSWORD, replacement) == Verification(matches=True)
        finished = PasswordHasher(rounds=4, pepper=PepperRing(current=OTHER_PEPPER))
        assert finished.verify(PASSWORD, replacement).matches
        assert not finished.verify(PASSWORD, stored).matches

    def test_introducing_and_removing(self) -> None:
        replacement = self.OLD.verify(PASSWORD, STORED).replacement
        assert replacement is not None
        assert replacement.startswith("$authapi-pepper$")
        phasing_out = PasswordHasher(rounds=4, pepper=PepperRing(current=None, previous=[PEPPER]))
        plain = phasing_out.verify(PASSWORD, replacement).replacement
        assert plain is not None
        assert HASHER.verify(PASSWORD, plain) == Verification(matches=True)

    def test_a_foreign_hash_is_replaced_by_a_peppered_one(self) -> None:
        replacement = self.OLD.verify(PASSWORD, FOREIGN[0][1]).replacement
        assert replacement is not None
        assert replacement.startswith("$authapi-pepper$")

    def test_a_prefix_on_a_foreign_hash_is_refused(self) -> None:
        stored = f"$authapi-pepper$v={PepperRing.key_id(PEPPER)}{FOREIGN[0][1]}"
        assert not self.OLD.verify(PASSWORD, stored).matches

    def test_bad_rings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ValueError, match="at least 14 bytes"):
            PepperRing(current=b"x" * 13)
        with pytest.raises(ValueError, match="at least 14 bytes"):
            PepperRing(current=PEPPER, previous=[b""])
        monkeypatch.setattr(PepperRing, "key_id", staticmethod(lambda _: "00000000"))
        with pytest.raises(ValueError, match="share a key id"):
            PepperRing(current=PEPPER, previous=[OTHER_PEPPER])

    def test_the_same_pepper_twice_is_one(self) -> None:
        assert PepperRing(current=PEPPER, previous=[PEPPER]).find(PepperRing.key_id(PEPPER)) == PEPPER

    def test_repr_holds_no_pepper(self) -> None:
        assert "pepper of" not in repr(PepperRing(current=PEPPER, previous=[PEPPER]))


class TestEqualWork:
    """ASVS 6.3.8: a failed login takes as long without an account as with any kind of hash."""

    @pytest.fixture
    def spent(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Collect the bcrypt cost, as 2**rounds, of every bcrypt computation."""
        import bcrypt

        spent: list[int] = []
        real = bcrypt.hashpw

        def counting(password: bytes, salt: bytes) -> bytes:
            spent.append(2 ** int(salt.split(b"$")[2]))
            return real(password, salt)

        monkeypatch.setattr(bcrypt, "hashpw", counting)
        return spent

    @pytest.mark.parametrize(
        "stored",
        [
            PasswordHasher(rounds=7).hash(PASSWORD),
            STORED,
            PasswordHasher(rounds=5).hash(PASSWORD),
            FOREIGN[0][1],
            "{SSHA}GkdukSUYd3yZLe/q19dpcwagQg1jLMWY",
            "",
            "$2b$31$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne",
            f"$authapi-pepper$v=00000000{STORED}",
        ],
        # Salts differ between processes, and tests have one name in all of them.
        ids=lambda stored: f"{len(stored)} characters" if stored else "empty",
    )
    @pytest.mark.parametrize("pepper", [None, PepperRing(current=PEPPER)])
    # Of the last one an imported hash may be of two forms: as it was typed, and normalised.
    @pytest.mark.parametrize("password", ["wrong", "nul\0", "wrong \N{LATIN SMALL LIGATURE FI}"])
    def test_mismatch(self, stored: str, pepper: PepperRing | None, password: str, spent: list[int]) -> None:
        hasher = PasswordHasher(rounds=7, pepper=pepper)
        spent.clear()
        hasher.verify_dummy(password)
        assert set(spent) == {2**7}
        for_nobody = sum(spent)
        spent.clear()
        assert not hasher.verify(password, stored).matches
        assert sum(spent) == for_nobody

    def test_no_password_matches_the_dummy(self) -> None:
        assert HASHER.identify(passwords._DUMMY.format(rounds=4)) == "bcrypt_sha256"
        assert not HASHER.verify("", passwords._DUMMY.format(rounds=4)).matches


def test_the_library_logs_no_traceback_when_it_loads() -> None:
    code = (
        "import logging; logging.basicConfig(level=logging.DEBUG);"
        "from authapi.security.passwords import PasswordHasher;"
        "h = PasswordHasher(rounds=4); assert h.verify('x', h.hash('x')).matches"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "Traceback" not in run.stderr
    assert "WARNING" not in run.stderr


def test_a_library_error_is_a_mismatch_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bool:
        raise MemoryError(PASSWORD)

    hasher = PasswordHasher(rounds=4)
    real = hasher._context.verify
    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        patch.setattr(
            hasher._context,
            "verify",
            lambda secret, stored: (fail if stored == STORED else real)(secret, stored),
        )
        assert not hasher.verify(PASSWORD, STORED).matches
    assert "MemoryError" in caplog.text
    assert PASSWORD not in caplog.text
