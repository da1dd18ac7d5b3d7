"""The lock files: complete, hashed, in step with pyproject.toml and each other, and free of addresses."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
RUNTIME, DEV, BUILD = "requirements.lock", "requirements-dev.lock", "requirements-build.lock"


def read(name: str) -> dict[str, list[tuple[str, str]]]:
    """Return the (version, marker) pairs of every package in a lock; platforms may differ in versions."""
    pinned: dict[str, list[tuple[str, str]]] = {}
    for line in (ROOT / name).read_text().splitlines():
        found = re.match(r"(\S+?)==(\S+)(?: ; (.+?))? \\$", line)
        if found:
            pinned.setdefault(canonicalize_name(found[1].partition("[")[0]), []).append(
                (found[2], found[3] or "")
            )
    return pinned


def wanted(*, dev: bool) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(project["optional-dependencies"]["dev"] if dev else [])]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", [RUNTIME, DEV, BUILD])
def test_holds_only_pinned_and_hashed_packages(name: str) -> None:
    text = re.sub(r" \\\n\s+", " ", (ROOT / name).read_text())
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert lines
    for line in lines:
        # An option, an address or a path would send an installation to somebody else's index or machine.
        assert re.fullmatch(r"[\w.\[\],-]+==\S+( ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+", line), line
    assert "://" not in text


@pytest.mark.parametrize(("name", "dev"), [(RUNTIME, False), (DEV, True)])
def test_satisfies_pyproject(name: str, dev: bool) -> None:
    pinned = read(name)
    for requirement in wanted(dev=dev):
        versions = pinned.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not in {name}: run `make lock`"
        for version, _ in versions:
            assert requirement.specifier.contains(version), f"{requirement} has {version}: run `make lock`"


@pytest.mark.parametrize("name", [RUNTIME, DEV, BUILD])
def test_names_the_extras_that_its_packages_ask_for(name: str) -> None:
    # Before 23.3 pip takes `coverage[toml]` for another package than `coverage`, overlooks the pin of the latter,
    # and refuses to install on the day a newer coverage is published.
    pinned = re.findall(r"^([\w.-]+)(?:\[([\w.,-]+)\])?==", (ROOT / name).read_text(), re.MULTILINE)
    extras = {canonicalize_name(package): set(named.split(",")) for package, named in pinned}
    missing = [
        f"{package} asks for {requirement}"
        for package in extras
        for requirement in asked_for_here(package)
        if not requirement.extras <= extras.get(canonicalize_name(requirement.name), requirement.extras)
    ]
    assert not missing, f"{name}: {missing}: run `make lock`"


def asked_for_here(package: str) -> list[Requirement]:
    """What an installed package needs on this machine; nothing for one that other platforms need."""
    try:
        lines = requires(package) or []
    except PackageNotFoundError:
        return []
    needed = map(Requirement, lines)
    return [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]


def test_dev_holds_the_versions_of_production() -> None:
    development = read(DEV)
    for name, versions in read(RUNTIME).items():
        assert {version for version, _ in versions} <= {version for version, _ in development[name]}, name


def test_build_holds_the_backend() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pinned = read(BUILD)
    assert "editables" in pinned
    for requirement in map(Requirement, requires):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)][0][0])
