"""`authapi openapi`: the description of the HTTP interface."""

import json
import secrets
from pathlib import Path
from tempfile import TemporaryDirectory

import typer
from pydantic import SecretStr

from authapi.commands.environment import prepare_settings
from authapi.setting_groups import DatabaseSettings, DocsSettings


def openapi() -> None:
    """Print the OpenAPI document; neither a database nor a secret is needed."""
    from authapi.main import create_app

    with TemporaryDirectory() as scratch:
        # Nothing of the installation is touched, and the document is the same for all of them.
        settings = prepare_settings().model_copy(
            update={
                "data_dir": Path(scratch),
                "secret_key": SecretStr(secrets.token_urlsafe(48)),
                "database": DatabaseSettings(),
                "docs": DocsSettings(enabled=True),
            }
        )
        document = create_app(settings).openapi()
    typer.echo(json.dumps(document, indent=2, sort_keys=True))
