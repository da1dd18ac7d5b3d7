"""Firebase's scrypt against the example that Firebase has published, and against damaged hashes."""

import pytest

from authapi.security.firebase_scrypt import FirebaseScrypt
from authapi.security.passwords import PasswordHasher, UnusableHash, Verification

PASSWORD = "user1password"
SIGNER_KEY = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
SALT = "42xEC+ixf3L2lw=="
# The example in the README of github.com/firebase/scrypt.
HASH = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
STORED = f"$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk={SIGNER_KEY}${SALT}${HASH}"
HASHER = PasswordHasher(rounds=4)


class TestVerify:
    def test_the_published_example(self) -> None:
        assert HASHER.scheme_of(STORED) == "firebase_scrypt"
        outcome = HASHER.verify(PASSWORD, STORED)
        assert outcome.matches
        assert outcome.replacement is not None
        assert HASHER.verify(PASSWORD, outcome.replacement) == Verification(matches=True)

    @pytest.mark.parametrize("password", ["", "user1passwore", "user1password ", "user1\0password"])
    def test_another_password(self, password: str) -> None:
        assert HASHER.verify(password, STORED) == Verification(matches=False)

    @pytest.mark.parametrize(
        ("old", "new"),
        [("n=14", "n=13"), ("r=8", "r=4"), ("ss=Bw==", "ss="), (SALT, "42xEC+ixf3L2lg=="), ("=jxs", "=kxs")],
    )
    def test_every_parameter_counts(self, old: str, new: str) -> None:
        changed = STORED.replace(old, new)
        assert HASHER.identify(changed) == "firebase_scrypt"
        assert not HASHER.verify(PASSWORD, changed).matches


class TestRefused:
    @pytest.mark.parametrize(
        "stored",
        [
            "$fbscrypt$",
            STORED.replace("v=1", "v=2"),
            STORED.replace("p=1", "p=2"),
            STORED.replace("n=14", "n=0"),
            STORED.replace("n=14", "n=١٤"),
            STORED.replace(f",sk={SIGNER_KEY}", ""),
            STORED.replace("Bw==", "B"),
            STORED.replace(HASH, ""),
            # Half of the signer key would be half of the proof.
            STORED.replace(HASH, HASH[:44]),
            STORED + "$",
        ],
    )
    def test_incomplete(self, stored: str) -> None:
        with pytest.raises(UnusableHash, match="not complete"):
            HASHER.scheme_of(stored)
        assert not HASHER.verify(PASSWORD, stored).matches

    @pytest.mark.parametrize("stored", [STORED.replace("n=14", "n=18"), STORED.replace("r=8", "r=99")])
    def test_too_costly(self, stored: str) -> None:
        with pytest.raises(UnusableHash, match="more work than is allowed"):
            HASHER.scheme_of(stored)

    def test_nobody_makes_more_of_them(self) -> None:
        with pytest.raises(TypeError, match="only verifies"):
            FirebaseScrypt.hash(PASSWORD)
