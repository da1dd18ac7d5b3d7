"""Known vulnerabilities of what is locked, and the list of it (SBOM): `make audit`.

pip-audit by itself says "No known vulnerabilities found" and ends with 0 where it could not look up a single
package, behind a mirror or without a network. Here every package has to have been looked up.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authapi import __version__

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")

# Each with the reason why it does not concern authapi.
ACCEPTED = {
    # python-ecdsa leaks timing; python-jose brings it, and signs with `cryptography` here, which is asserted
    # at the start. It will not be fixed.
    "CVE-2024-23342",
    "GHSA-wj6h-64fc-37mp",
}


class AuditImpossible(Exception):
    """Nothing can be said about the packages; the message says why."""


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    sha256: tuple[str, ...]


def read_lock(text: str) -> list[Package]:
    """Every package of a lock file; one may be there in several versions, for several platforms."""
    packages = []
    for line in re.sub(r" \\\n\s+", " ", text).splitlines():
        found = re.match(r"([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)", line)
        if found:
            packages.append(Package(found[1], found[2], tuple(re.findall(r"--hash=sha256:(\w{64})", line))))
    return packages


def bill_of_materials(packages: list[Package]) -> dict[str, Any]:
    """The packages as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), the same for the same lock."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "authapi", "version": __version__}},
        "components": [
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{package.name}@{package.version}",
                "name": package.name,
                "version": package.version,
                "purl": f"pkg:pypi/{package.name}@{package.version}",
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in package.sha256],
            }
            for package in packages
        ],
    }


def judge(report: dict[str, Any]) -> list[str]:
    """One line for each vulnerability in pip-audit's JSON; raises `AuditImpossible` if packages are left out."""
    dependencies = report["dependencies"]
    skipped = [dependency["name"] for dependency in dependencies if "skip_reason" in dependency]
    if skipped or not dependencies:
        raise AuditImpossible(
            f"{len(skipped)} of {len(dependencies)} packages could not be looked up (first: "
            f"{skipped[0] if skipped else 'none at all'}); is pypi.org reachable?"
        )
    return [
        f"{dependency['name']} {dependency['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version'}"
        for dependency in dependencies
        for vulnerability in dependency["vulns"]
        if not ACCEPTED & {vulnerability["id"], *vulnerability["aliases"]}
    ]


def look_up(pip_audit: str, lock: Path) -> dict[str, Any]:
    """What pip-audit finds for a lock; raises `AuditImpossible` if it does not get that far."""
    run = subprocess.run(
        [
            *(pip_audit, "--requirement", str(lock), "--require-hashes", "--disable-pip"),
            *("--format", "json", "--progress-spinner", "off"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    try:
        report: dict[str, Any] = json.loads(run.stdout)
    except json.JSONDecodeError:
        last = run.stderr.strip().splitlines()[-1:] or ["no output"]
        raise AuditImpossible(f"pip-audit failed: {last[0]}") from None
    return report


def main(pip_audit: str, sbom: Path) -> int:
    """Write the SBOM, then look everything up; 0: nothing found, 1: something found, 2: no answer."""
    sbom.parent.mkdir(parents=True, exist_ok=True)
    bill = bill_of_materials(read_lock((ROOT / LOCKS[0]).read_text()))
    sbom.write_text(json.dumps(bill, indent=2) + "\n")
    sys.stdout.write(f"{sbom}: {len(bill['components'])} packages\n")
    result = 0
    for name in LOCKS:
        try:
            found = judge(look_up(pip_audit, ROOT / name))
        except AuditImpossible as reason:
            sys.stderr.write(f"{name}: NOT AUDITED: {reason}\n")
            return 2
        for line in found:
            sys.stderr.write(f"{name}: {line}\n")
            result = 1
        sys.stdout.write(f"{name}: {len(found)} known vulnerabilities\n")
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
