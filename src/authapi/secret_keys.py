"""The secret key that all internal keys are derived from: configured, or made once in development."""

import os
import secrets
from pathlib import Path

from authapi.security.derived_keys import MIN_SECRET_BYTES, DerivedKeys
from authapi.settings import InvalidSettings, Settings

SECRET_KEY_FILE = "secret_key"


def load_derived_keys(settings: Settings) -> DerivedKeys:
    """The keys of this installation, from `AUTHAPI_SECRET_KEY` or the file in the data directory.

    Development makes that file at the first start, readable by its owner only. Production never does: two
    hosts would each make their own. Raises `InvalidSettings`.
    """
    previous = [key.get_secret_value().encode() for key in settings.secret_key_previous]
    if settings.secret_key is not None:
        return DerivedKeys(settings.secret_key.get_secret_value().encode(), previous)
    if settings.is_production:
        raise InvalidSettings(["AUTHAPI_SECRET_KEY: production needs a secret key of at least 32 bytes"])
    return DerivedKeys(_read_or_create(settings.data_dir / SECRET_KEY_FILE), previous)


def _read_or_create(path: Path) -> bytes:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        key = path.read_bytes().strip()
    except OSError as error:
        raise InvalidSettings([f"AUTHAPI_DATA_DIR: cannot use {path.parent}: {error.strerror}"]) from None
    if len(key) < MIN_SECRET_BYTES:
        raise InvalidSettings([f"AUTHAPI_DATA_DIR: {path} holds no secret key; restore it from a backup"])
    return key


def _create(path: Path) -> None:
    # A process that starts at the same time must not see half a key: write aside, then link. The name is
    # random because processes in two containers may have the same number.
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        # The database's contents, sealed under this key, survive a power cut; so must the key.
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
