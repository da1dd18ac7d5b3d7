"""Alembic's scripts with one more revision than this release has: what the next release may bring."""

import textwrap
from pathlib import Path

from authapi import migrations


def scripts_with(directory: Path, upgrade: str, downgrade: str = "raise NotImplementedError") -> Path:
    """Make a directory of scripts whose newest revision runs the code `upgrade`, and return it."""
    scripts = migrations.scripts_directory().resolve()
    ours = directory / "alembic"
    ours.mkdir()
    (ours / "env.py").symlink_to(scripts / "env.py")
    (ours / "versions").mkdir()
    for script in (scripts / "versions").glob("*.py"):
        (ours / "versions" / script.name).symlink_to(script)
    head = migrations.revisions()[-1]
    (ours / "versions" / "9999_of_a_test.py").write_text(
        "import sqlalchemy as sa\n\nfrom alembic import op\n\n"
        f'revision, down_revision = "9999", "{head}"\nbranch_labels = depends_on = None\n\n\n'
        f"def upgrade() -> None:\n{_block(upgrade)}\n\n\ndef downgrade() -> None:\n{_block(downgrade)}\n"
    )
    return ours


def _block(code: str) -> str:
    return textwrap.indent(textwrap.dedent(code).strip(), "    ")
