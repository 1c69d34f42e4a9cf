"""A half export is never taken for a whole one, and nothing that exists is overwritten."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omni_batch.errors import ConfigError
from omni_batch.store.disk import draft_folder_of, storage_errors


def refuse_existing(dest: Path, *, folder: bool) -> None:
    """Nothing that exists is overwritten.

    Raises:
        ConfigError: `dest` is a file with content, a folder with files, or the other of the two.
    """
    if dest.is_dir():
        if not folder:
            raise ConfigError(f"{dest} is a folder; name a file")
        if next(dest.iterdir(), None) is not None:
            raise ConfigError(f"{dest} is not empty; name a new folder")
    elif dest.exists() and (folder or dest.stat().st_size):
        raise ConfigError(f"{dest} exists; name another or remove it")


@contextmanager
def draft_folder(dest: Path) -> Iterator[Path]:
    """A folder to write in; becomes `dest` when the block ends well, and else is gone.

    Raises:
        ConfigError: `dest` is not empty.
        StorageError: disk full or not writable.
    """
    refuse_existing(dest, folder=True)
    with storage_errors(dest, "written"):
        dest.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder_of(dest) as draft:
        yield draft
