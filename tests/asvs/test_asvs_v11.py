"""Cryptography: rules on the sources."""

import re

import pytest

from tests.asvs import sources

pytestmark = pytest.mark.one_database

CRYPTOGRAPHY = ("hashlib", "hmac", "cryptography", "jose", "passlib", "secrets", "pyotp")
WEAK = {"hashlib.md5", "hashlib.sha1", "hashlib.new"}


def test_asvs_11_1_2() -> None:
    """SECURITY.md's inventory names every source that does cryptography, and none that does not."""
    section = (sources.ROOT / "SECURITY.md").read_text().partition("## Cryptography")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z_/]+\.py)`", section))
    using = set().union(*(sources.importers(module) for module in CRYPTOGRAPHY))
    assert using == listed


def test_asvs_11_2_4() -> None:
    """What proves something is compared in constant time (level 3)."""
    found = [place for place, name, _ in sources.calls() if name == "hmac.compare_digest"]
    places = {place.partition(":")[0] for place in found}
    assert places >= {"security/opaque_tokens.py", "security/totp.py", "services/service_clients.py"}


def test_asvs_11_3_1() -> None:
    """No block mode that shows patterns, no padding that answers questions."""
    modes = {name.rpartition(".")[2] for _, name in sources.imports()} | {
        name.rpartition(".")[2] for _, name, _ in sources.calls()
    }
    assert not modes & {"ECB", "CBC", "PKCS1v15", "ARC4", "TripleDES", "Blowfish"}


def test_asvs_11_4_1() -> None:
    """SHA-1 appears only where breach lists are looked up, marked as no protection; MD5 nowhere."""
    used = {
        (place.partition(":")[0], name)
        for place, name, call in sources.calls()
        if name in WEAK and "usedforsecurity" not in {keyword.arg for keyword in call.keywords}
    }
    assert not used
    marked = {place.partition(":")[0] for place, name, _ in sources.calls() if name in WEAK}
    assert marked <= {"breached_passwords.py"}


def test_asvs_11_5_1() -> None:
    """Random values come from `secrets` or the system; identifiers are no secrets and come from one place."""
    assert not sources.importers("random")
    assert not sources.importers("numpy")
    assert sources.importers("uuid_utils") | sources.importers("uuid_utils.compat") <= {
        "models/base.py",
        "request_context.py",
        "middleware/request_context.py",
    }
