"""`make audit` finds what pip-audit finds, and does not take silence for an answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit import LOCKS, ROOT, AuditImpossible, bill_of_materials, judge, look_up, read_lock

ECDSA = {"id": "GHSA-wj6h-64fc-37mp", "fix_versions": [], "aliases": ["CVE-2024-23342"], "description": "…"}
JOSE = {"id": "PYSEC-2024-232", "fix_versions": ["3.4.0"], "aliases": ["CVE-2024-33663"], "description": "…"}


def dependency(name: str, *vulnerabilities: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": list(vulnerabilities)}


class TestJudge:
    def test_what_was_found_is_named_with_its_cure(self) -> None:
        report = {"dependencies": [dependency("python-jose", JOSE), dependency("rich")]}
        assert judge(report) == ["python-jose 1.0: PYSEC-2024-232, fixed in 3.4.0"]

    def test_what_is_accepted_is_known_by_any_of_its_names(self) -> None:
        assert judge({"dependencies": [dependency("ecdsa", ECDSA)]}) == []

    def test_a_package_that_was_not_looked_up_is_no_good_news(self) -> None:
        skipped = {"name": "rich", "skip_reason": "Dependency not found on PyPI and could not be audited"}
        with pytest.raises(AuditImpossible, match=r"1 of 2 packages .* \(first: rich\)"):
            judge({"dependencies": [dependency("ecdsa"), skipped]})

    def test_neither_is_an_empty_report(self) -> None:
        with pytest.raises(AuditImpossible):
            judge({"dependencies": []})


class TestLookUp:
    def test_a_failure_is_passed_on(self, tmp_path: Path) -> None:
        program = tmp_path / "pip-audit"
        program.write_text("#!/bin/sh\necho 'ERROR: no route to host' >&2\nexit 1\n")
        program.chmod(0o700)
        with pytest.raises(AuditImpossible, match="no route to host"):
            look_up(str(program), ROOT / LOCKS[0])


class TestBill:
    def test_it_lists_the_whole_lock(self) -> None:
        packages = read_lock((ROOT / LOCKS[0]).read_text())
        bill = json.loads(json.dumps(bill_of_materials(packages)))
        components = {component["name"]: component for component in bill["components"]}
        assert {"fastapi", "sqlalchemy", "python-jose", "cryptography", "ecdsa"} <= components.keys()
        assert all(component["hashes"] for component in components.values())
        assert components["fastapi"]["purl"].startswith("pkg:pypi/fastapi@0.")
        assert bill["bomFormat"] == "CycloneDX"

    @pytest.mark.parametrize("name", LOCKS)
    def test_no_package_of_a_lock_is_overlooked(self, name: str) -> None:
        text = (ROOT / name).read_text()
        assert len(read_lock(text)) == sum("==" in line for line in text.splitlines() if line[:1].isalnum())
