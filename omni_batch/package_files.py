"""What comes with the package: configs, sample data and the Prefect flows; and the user's cache.

A wheel has them inside `omni_batch/`, so that no install puts a package called `flows` into
everybody's site-packages; in a checkout they lie beside it, where deployments name
`flows/batch.py:batch`.
"""

import os
import sys
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from omni_batch.errors import ConfigError

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

_PACKAGE = Path(__file__).parent
_FLOWS = "omni_batch.flows"


def package_file(name: str) -> Path:
    """The path of a file or folder, such as `configs/reference.yaml`.

    Raises:
        ConfigError: it is missing.
    """
    for folder in (_PACKAGE, _PACKAGE.parent):
        if (folder / name).exists():
            return folder / name
    raise ConfigError(f"{name} is missing from this installation of omni-batch; install it again")


def import_flows(name: str) -> ModuleType:
    """A module of the flows, always as `omni_batch.flows.<name>`.

    It is found by its place and never by the name `flows`, which may be somebody else's package.

    Raises:
        ConfigError: it is missing.
    """
    if util.find_spec(_FLOWS) is None:
        _load_from_checkout()
    return import_module(f"{_FLOWS}.{name}")


def _load_from_checkout() -> None:
    path = package_file("flows/__init__.py")
    spec = util.spec_from_file_location(_FLOWS, path, submodule_search_locations=[str(path.parent)])
    sys.modules[_FLOWS] = module = util.module_from_spec(cast("ModuleSpec", spec))
    cast("Loader", module.__loader__).exec_module(module)


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
