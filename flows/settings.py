"""Prefect's settings, read before anything else of it: what is wrong in them is named."""

import contextlib
import io
import os
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omni_batch.errors import ConfigError
from omni_batch.text import redacted


def check_settings() -> None:
    """Read them, which the first import of Prefect does.

    Raises:
        ConfigError: names the variable, or the file of profiles, and says what may be there.
    """
    said = io.StringIO()  # Prefect prints the reason in words of its own, and more than once
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings(action="ignore"):
            import prefect.context  # noqa: F401
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{_profiles()} can't be read: {exc}; correct or remove it") from None
    except ValueError as exc:
        raise ConfigError("; ".join(_problems(exc)) or str(exc)) from None
    sys.stderr.write(said.getvalue())


def _problems(exc: ValueError) -> Iterator[str]:
    """One text for each setting of a pydantic.ValidationError that is wrong in itself."""
    errors: list[dict[str, Any]] = getattr(exc, "errors", list)()
    for error in errors:
        if error["type"] != "default_factory_not_called":  # follows from another one
            place = "_".join(map(str, error["loc"]))
            yield redacted(f"{_name(place, error['input'])}: {error['msg']}; correct or unset it")


def _name(place: str, value: object) -> str:
    """The variable that holds a value; its place in the settings where no variable does."""
    wanted, ending = str(value).casefold(), place.upper()
    held = [name for name, text in os.environ.items() if text.casefold() == wanted]
    named = [name for name in held if name.startswith("PREFECT_")]
    for name in sorted(named, key=lambda name: not name.endswith(ending)):
        return f"{name} = {os.environ[name]}"
    return f"Prefect's setting {place} = {value} (in {_profiles()})"


def _profiles() -> Path:
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    return Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
