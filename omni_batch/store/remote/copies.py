"""Address of an output → the local folder that its runs are worked on in, and back."""

import hashlib
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from omni_batch.errors import ConfigError, StorageError
from omni_batch.sources.address import Address, is_store
from omni_batch.store.disk import PROCESS, storage_errors
from omni_batch.store.trust.secret import state_folder

_WRITTEN = ("s3", "gs", "oss")
_SETTING = "OMNI_BATCH_COPIES"
_NOTE = "address"
_HASH_DIGITS = 16


def output_problem(output: str) -> str | None:
    """Why no run can be kept there, by its name alone; None for a folder, or a good address."""
    if "://" not in output:
        return None
    scheme = output.partition("://")[0].lower()
    if not is_store(output) or scheme not in _WRITTEN:
        return (
            f"output = {output!r:.200}: runs are kept in a local folder, or at s3://BUCKET/PREFIX, "
            "gs://… or oss://…"
        )
    address = Address.of(output)
    parts = address.key.strip("/").split("/") if address.key.strip("/") else []
    if not address.bucket or any(part in ("", ".", "..") for part in parts):
        return (
            f"output = {output!r:.200}: write it as {scheme}://BUCKET/PREFIX, without //, . or .. "
            "in the prefix"
        )
    return None


def output_address(output: str) -> Address:
    """Of a folder of runs at a store; its key has no slash at its end.

    Raises:
        ConfigError: no run can be kept there.
    """
    if problem := output_problem(output):
        raise ConfigError(problem)
    found = Address.of(output)
    return Address(found.scheme, found.bucket, found.key.strip("/"))


def below(address: Address, name: str) -> Address:
    """The address of something in a folder."""
    return Address(address.scheme, address.bucket, "/".join(filter(None, (address.key, name))))


def copies_folder() -> Path:
    """Where local copies are: beside the user's other state, or where OMNI_BATCH_COPIES says.

    Raises:
        StorageError: the user has no home folder.
    """
    given = Path(os.environ.get(_SETTING, ""))
    return given if given.is_absolute() else state_folder() / "runs"


def runs_folder(output: str) -> Path:
    """Where the runs of an output are on this machine; nothing is made.

    Raises:
        ConfigError: no run can be kept there.
        StorageError: the user has no home folder.
    """
    if "://" not in output:
        return Path(output)
    address = output_address(output)
    return copies_folder() / hashlib.sha256(str(address).encode()).hexdigest()[:_HASH_DIGITS]


def made_runs_folder(output: str) -> Path:
    """The same, and that of an address is there, for this user alone.

    Raises:
        ConfigError: no run can be kept there.
        StorageError: it can't be made.
    """
    folder = runs_folder(output)
    if "://" in output and not (folder / _NOTE).exists():
        with storage_errors(folder, "written"):
            folder.mkdir(0o700, parents=True, exist_ok=True)
            PROCESS.replace(folder / _NOTE, f"{output_address(output)}\n".encode())
    return folder


def address_of(root: Path) -> Address | None:
    """What a run directory is the local copy of; None where it is none.

    Only in the folder of copies: elsewhere a note of this kind, which others may have written,
    means nothing.
    """
    folder = Path(os.path.realpath(root)).parent
    output = _noted(folder) if _holds_copies(folder) else None
    return below(Address.of(output), root.name) if output else None


def shown(root: Path) -> str:
    """How people name a run directory: by its address, where it is a local copy."""
    return str(address_of(root) or root)


def _holds_copies(folder: Path) -> bool:
    with suppress(StorageError):
        return folder.parent == Path(os.path.realpath(copies_folder()))
    return False


@lru_cache(64)
def _noted_once(folder: Path) -> str:
    return (folder / _NOTE).read_text().strip()


def _noted(folder: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return _noted_once(folder)
    return None
