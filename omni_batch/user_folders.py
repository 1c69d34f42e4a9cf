"""Folders of the user's that outlive a run."""

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """Where caches are kept: XDG Base Directory Specification 0.8, "cache".

    None where the user has no home folder.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = given if given.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "omni-batch"
