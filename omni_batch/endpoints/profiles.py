"""Named places to send requests to. Source: Model Studio chat reference, 2026, "endpoints"."""

import difflib
import os
from dataclasses import dataclass, replace

from omni_batch.config import EndpointConfig
from omni_batch.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Profile:
    """One endpoint: where it is, which variable holds its key, whose prices apply."""

    name: str
    base_url: str | None
    """Ends before /chat/completions; None: must come from the config."""
    api_key_env: str | None
    region: str | None = None
    """Of the catalogue's price list."""
    currency: str | None = None
    embedded: bool = False
    """Started by us for the run when no base_url is given."""


_PROFILES = (
    Profile(
        "simulator", None, None, region="singapore", currency="USD", embedded=True
    ),  # priced as if real, so that a rehearsal shows what the run would cost
    Profile(
        "dashscope-beijing",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        region="beijing",
        currency="CNY",
    ),
    Profile(
        "dashscope-singapore",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        region="singapore",
    ),
    Profile("custom", None, "DASHSCOPE_API_KEY"),
)
PROFILES = {profile.name: profile for profile in _PROFILES}


def resolve_profile(config: EndpointConfig) -> Profile:
    """The profile a config names, with its overrides.

    Raises:
        ConfigError: an unknown name, or no base_url where one is needed.
    """
    profile = PROFILES.get(config.name)
    if profile is None:
        nearest = difflib.get_close_matches(config.name, PROFILES, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(PROFILES)}"
        raise ConfigError(f"endpoint.name = {config.name!r} is no known endpoint; {hint}")
    profile = replace(
        profile,
        base_url=config.base_url or profile.base_url,
        api_key_env=config.api_key_env or profile.api_key_env,
    )
    if profile.base_url is None and not profile.embedded:
        raise ConfigError(f"endpoint {profile.name} needs endpoint.base_url; add it")
    return profile


def read_api_key(profile: Profile) -> str | None:
    """The key from the environment; None where the endpoint needs none.

    Raises:
        ConfigError: the variable is missing, empty or holds no header value.
    """
    if profile.api_key_env is None:
        return None
    key = os.environ.get(profile.api_key_env, "").strip()
    if not key:
        raise ConfigError(
            f"endpoint {profile.name} needs an API key in the environment variable "
            f"{profile.api_key_env}, which is not set; run: export {profile.api_key_env}=…"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"the environment variable {profile.api_key_env} holds characters that no API key "
            "has; set it again"
        )
    return key
