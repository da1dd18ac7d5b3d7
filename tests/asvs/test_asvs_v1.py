"""Encoding: rules on the sources, and values that try to become code."""

import ast

import httpx
import pytest

from tests.asvs import sources
from tests.support.accounts import Accounts

pytestmark = pytest.mark.one_database

TEMPLATES_OF_ATTACKERS = ("{{7*7}}", "${7*7}", "{0.__class__}", "%s%n%x", "#{7*7}", "<%= 7*7 %>", "{% raw %}")
# Numbers beyond every column and every parser.
HOSTILE_INTEGERS = ("2147483648", "-2147483649", "9223372036854775808", "9" * 5000, "1e400", "0x10", "NaN")


def test_asvs_1_2_3() -> None:
    """JSON is made by serialisers, never by putting strings together."""
    assembled = [
        f"{path}:{node.lineno}"
        for path, tree in sources.trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        and any(isinstance(part, ast.Constant) and '{"' in str(part.value) for part in node.values)
    ]
    assert not assembled


def test_asvs_1_2_5() -> None:
    """Nothing starts a process, so nothing can be made to start another one."""
    assert not sources.importers("subprocess") | sources.importers("pty")
    shells = {"os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "asyncio.create_subprocess_exec"}
    assert not [place for place, name, _ in sources.calls() if name in shells]


def test_asvs_1_2_9() -> None:
    """Patterns are written in the source; what somebody sent is never part of one."""
    functions = {"re.compile", "re.search", "re.match", "re.fullmatch", "re.sub", "re.split", "re.findall"}
    variable = [
        place
        for place, name, call in sources.calls()
        if name in functions
        and any(isinstance(node, ast.Name) and not node.id.isupper() for node in ast.walk(call.args[0]))
    ]
    assert not variable


def test_asvs_1_3_2() -> None:
    """No code is made at run time."""
    makers = {"eval", "exec", "compile", "__import__"}
    assert not [place for place, name, _ in sources.calls() if name in makers]


@pytest.mark.parametrize("name", TEMPLATES_OF_ATTACKERS)
async def test_asvs_1_3_10(name: str, client: httpx.AsyncClient, accounts: Accounts) -> None:
    """Format and template syntax in a field is text, and comes back as it was sent."""
    account = await accounts.register(full_name=name)
    response = await client.get("/api/profile", headers=account.headers)
    assert response.json()["data"]["full_name"] == name


@pytest.mark.parametrize("number", HOSTILE_INTEGERS, ids=lambda number: number[:20])
async def test_asvs_1_4_2(number: str, client: httpx.AsyncClient, accounts: Accounts) -> None:
    """A number out of range is refused wherever one is taken."""
    admin = await accounts.admin()
    for path in (
        "/api/admin/users",
        "/api/admin/audit-events",
        "/api/public/search?q=ada",
        "/api/profile/activity",
    ):
        response = await client.get(path, params={"limit": number}, headers=admin.headers)
        assert response.status_code in {400, 414, 422}, f"{path}: {response.text}"


def test_asvs_1_5_2() -> None:
    """No format that can bring code along is read."""
    formats = ("pickle", "marshal", "shelve", "yaml", "dill", "xml")
    assert not {name: found for name in formats if (found := sources.importers(name))}
