"""What Prefect's blocks keep for us: keys, for this process's own environment, and whom to tell."""

import os
from collections.abc import Iterator
from inspect import isawaitable
from typing import cast

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.blocks.system import Secret

from omni_batch.config import parse_config
from omni_batch.errors import ConfigError
from omni_batch.providers.profiles import Profile, resolve_profile
from omni_batch.store import RunDir
from omni_batch.store.record import read_record
from omni_batch.text import one_line


def key_variables(directory: RunDir) -> list[str]:
    """The names of the variables that hold the keys of a run's endpoints."""
    return [name for name in (profile.api_key_env for profile in _profiles(directory)) if name]


async def load_keys(directory: RunDir) -> None:
    """Read the blocks that a run's endpoints name, where the environment has no key for them.

    Raises:
        ConfigError: a block does not exist, or holds no text.
    """
    for profile in _profiles(directory):
        variable, block = profile.api_key_env, profile.api_key_block
        if variable and block and not os.environ.get(variable):
            os.environ[variable] = await _read(block)


def _profiles(directory: RunDir) -> Iterator[Profile]:
    config = parse_config(read_record(directory.record).config)
    return map(resolve_profile, config.all_endpoints)


async def _read(block: str) -> str:
    try:
        key = cast(Secret[str], await Secret.aload(block)).get()
    except ValueError as exc:
        raise ConfigError(
            f"endpoint.api_key_block: Prefect has no Secret block {block}; create it, or set the "
            "key in the environment"
        ) from exc
    if not isinstance(key, str) or not key:
        raise ConfigError(f"endpoint.api_key_block: the Secret block {block} holds no text")
    return key


async def tell_block(name: str, text: str) -> str | None:
    """Have a block send a text; why it can't, if so.

    Args:
        name: TYPE/NAME, such as slack-webhook/operators.
    """
    import prefect.blocks.notifications  # noqa: F401  # makes its kinds known, and takes its time

    try:
        block: object = await Block.aload(name)
    except ValueError as exc:
        return one_line(str(exc))
    if not isinstance(block, NotificationBlock):
        return "it is not a block that notifies"
    with block.raise_on_failure():
        sent = cast("object", block.notify(text, subject="omni-batch"))
        if isawaitable(sent):
            await sent
    return None
