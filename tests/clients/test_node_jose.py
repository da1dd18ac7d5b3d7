"""Node's `jose`, as an Express or Next.js service would use it.

The package comes from npm, so this is the one test that needs a registry; without one it is skipped.
"""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.served_authapi import served_authapi

HERE = Path(__file__).with_name("node")
INSTALL_SECONDS = 12
INSTALL = (
    *(
        "npm",
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--loglevel=error",
    ),
    *("--prefer-offline", "--fetch-retries=0", "--fetch-timeout=5000"),
)


@pytest.fixture(scope="module")
def node_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the script next to an installed `jose`."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node's jose was not tried: there is no node or npm; apt-get install nodejs npm")
    project = tmp_path_factory.mktemp("node")
    for name in ("package.json", "verify.mjs"):
        shutil.copy(HERE / name, project)
    try:
        subprocess.run(INSTALL, cwd=project, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"Node's jose was not tried: npm could not install it ({type(error).__name__})")
    return project


class TestJose:
    @pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
    async def test_jwt_verify(self, tmp_path: Path, node_project: Path, algorithm: str) -> None:
        async with served_authapi(tmp_path, access_token={"algorithm": algorithm}) as authapi:
            token = (await authapi.register())["access_token"]
            head, body, signature = token.split(".")
            request = {
                "jwksUrl": f"{authapi.url}/.well-known/jwks.json",
                "issuer": authapi.issuer,
                "audience": "authapi",
                "algorithm": algorithm,
                "tokens": [token, f"{head}.{body}.{signature[::-1]}"],
            }
            process = await asyncio.create_subprocess_exec(
                *("node", "verify.mjs"),
                cwd=node_project,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await asyncio.wait_for(process.communicate(json.dumps(request).encode()), 20)
        genuine, forged = json.loads(output)
        assert genuine["claims"]["email"] == "ada@example.com"
        assert forged == {"error": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}
