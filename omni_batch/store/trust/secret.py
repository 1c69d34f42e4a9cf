"""The user's own secret, in the folder of state: what carries its mark was made here.

As Jupyter signs notebooks. Who owns a file proves nothing: whoever unpacks an archive or clones a
repository owns all that was in it. Machines that share the home folder, or $XDG_STATE_HOME, share
the secret.
"""

import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path

from omni_batch.errors import StorageError
from omni_batch.store.disk import open_new, storage_errors

_BYTES = 32
_OF_THIS_PROCESS = secrets.token_bytes(_BYTES)


def state_folder() -> Path:
    """The user's folder of state: XDG Base Directory Specification 0.8, "state"."""
    with storage_errors(Path("~/.local/state"), "found", RuntimeError):
        given = Path(os.environ.get("XDG_STATE_HOME", ""))
        if given.is_absolute():
            return given / "omni-batch"
        if not Path(os.environ.get("HOME", "/")).is_absolute():  # unset, the system knows it
            raise OSError("HOME does not name a folder")
        return Path.home() / ".local" / "state" / "omni-batch"


def secret_path() -> Path:
    """Where it is kept."""
    return state_folder() / "secret"


def own_secrets() -> list[bytes]:
    """By what marks of ours are known: the user's secret, if there is one, and this process's."""
    with suppress(StorageError):
        return [_read(secret_path()), _OF_THIS_PROCESS]
    return [_OF_THIS_PROCESS]


def secret_to_mark_with() -> tuple[bytes, str | None]:
    """The user's secret, made where there is none.

    Returns:
        The secret; and why it is this process's only, where it can't be kept.
    """
    try:
        path = secret_path()
        if not path.exists():
            _make(path)
        return _read(path), None
    except StorageError as exc:
        return _OF_THIS_PROCESS, str(exc)


def _read(path: Path) -> bytes:
    with storage_errors(path, "used"):
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size != _BYTES:
                raise OSError("it is not a secret of omni-batch; remove it")
            if sys.platform != "win32":
                if found.st_uid != os.geteuid():
                    raise OSError("it belongs to another user")
                if found.st_mode & 0o077:
                    raise OSError(f"others may read it; run: chmod 600 {path}")
            return os.read(file, _BYTES)
        finally:
            os.close(file)


def _make(path: Path) -> None:
    """Whole or not at all; of two processes that make it, the first one's holds."""
    with storage_errors(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        with open_new(draft, 0o600) as file:
            file.write(secrets.token_bytes(_BYTES))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
