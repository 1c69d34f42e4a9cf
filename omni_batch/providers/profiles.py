"""Named places to send requests to. Source: Model Studio chat reference, 2026, "endpoints"."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from omni_batch.catalogue import MAINLAND, SINGAPORE
from omni_batch.config import EndpointConfig
from omni_batch.errors import ConfigError
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.dialects import DIALECTS
from omni_batch.text import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Profile:
    """One endpoint: its address, its dialect, the variable with its key, its prices."""

    name: str
    dialect: Dialect
    base_url: str | None = None
    """Ends before /chat/completions; None: must come from the config."""
    api_key_env: str | None = None
    """None: no key is sent unless the config names a variable."""
    region: str | None = None
    """Where its models run and what they cost there, as the catalogue calls it; None where that is
    unknown."""
    price_factor: float = 1.0
    storage_url: str | None = None
    """Whose temporary storage takes its files, where that is another host of the same vendor."""
    embedded: bool = False
    """Started by us for the run when no base_url is given."""
    api_key_block: str | None = None
    """A Prefect Secret block, from which a flow fills the variable of the key."""

    @property
    def key_region(self) -> str | None:
        """The region that its key is bound to; None at a server that is not the vendor's."""
        return region_of(self.base_url) if self.base_url else None


_DASHSCOPE = DIALECTS["dashscope"]
_KEY = "DASHSCOPE_API_KEY"
_BEIJING = "https://dashscope.aliyuncs.com/compatible-mode/v1"
_SINGAPORE = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
_OPENAI = "https://api.openai.com/v1"
_PROFILES = (
    # Priced as if real, so that a rehearsal shows what the run would cost.
    Profile("simulator", _DASHSCOPE, region=SINGAPORE, embedded=True),
    Profile("dashscope-beijing", _DASHSCOPE, _BEIJING, _KEY, MAINLAND),
    Profile("dashscope-singapore", _DASHSCOPE, _SINGAPORE, _KEY, SINGAPORE),
    Profile("dashscope-workspace", _DASHSCOPE, None, _KEY),
    Profile(
        "dashscope-batch-chat",
        DIALECTS["dashscope-batch-chat"],
        "https://batch.dashscope.aliyuncs.com/compatible-mode/v1",
        _KEY,
        MAINLAND,
        price_factor=0.5,
        storage_url=_BEIJING,
    ),
    Profile(
        "dashscope-batch",
        DIALECTS["dashscope-batch"],
        _BEIJING,
        _KEY,
        MAINLAND,
        price_factor=0.5,
    ),
    Profile("openai", DIALECTS["openai"], _OPENAI, "OPENAI_API_KEY"),
    Profile("openai-batch", DIALECTS["openai-batch"], _OPENAI, "OPENAI_API_KEY", price_factor=0.5),
    Profile("vllm", DIALECTS["vllm"]),
    Profile("vllm-omni", DIALECTS["vllm-omni"]),
    Profile("sglang-omni", DIALECTS["sglang-omni"]),
    Profile("litellm", DIALECTS["litellm"], None, "LITELLM_API_KEY"),
    Profile("custom", _DASHSCOPE, None, _KEY),
)
SIMULATED_KEY = ApiKey("sk-simulated")
"""Opens every simulator, and nothing else."""
PROFILES = {profile.name: profile for profile in _PROFILES}
_REGIONS = {"cn-beijing": MAINLAND, "ap-southeast-1": SINGAPORE}
"""The catalogue's names for regions that have one; others keep their id."""
_HOSTS = {
    "dashscope.aliyuncs.com": MAINLAND,
    "batch.dashscope.aliyuncs.com": MAINLAND,
    "dashscope-intl.aliyuncs.com": SINGAPORE,
    "dashscope-us.aliyuncs.com": "us-east-1",
}
_REGION_IN_HOST = re.compile(r"(?:^|\.)([a-z0-9-]+)\.(?:maas|dashscope)\.aliyuncs\.com$")


def region_of(base_url: str) -> str | None:
    """The region of a host of Model Studio's, as the catalogue calls it; None for other hosts."""
    host = (urlsplit(base_url).hostname or "").lower()
    if host in _HOSTS:
        return _HOSTS[host]
    named = _REGION_IN_HOST.search(host)
    return _REGIONS.get(named[1], named[1]) if named else None


def resolve_profile(config: EndpointConfig) -> Profile:
    """The profile a config names, with its overrides.

    Raises:
        ConfigError: an unknown name or dialect, or no base_url where one is needed.
    """
    profile = _known(config.name, PROFILES, "endpoint.name", "endpoint")
    if config.dialect is not None:
        dialect = _known(config.dialect, DIALECTS, "endpoint.dialect", "dialect")
        profile = replace(profile, dialect=dialect)
    if profile.name == "dashscope-workspace":
        profile = _in_workspace(profile, config)
    profile = replace(
        profile,
        base_url=config.base_url or profile.base_url,
        storage_url=None if config.base_url else profile.storage_url,
        api_key_env=config.api_key_env or profile.api_key_env,
        api_key_block=config.api_key_block,
    )
    if config.base_url and profile.dialect.vendor_quota:
        profile = replace(profile, region=region_of(config.base_url) or profile.region)
    if profile.api_key_block and not profile.api_key_env:
        raise ConfigError(f"endpoint {profile.name}: api_key_block needs api_key_env as well")
    if profile.base_url is None and not profile.embedded:
        raise ConfigError(f"endpoint {profile.name} needs endpoint.base_url; add it")
    return profile


def _known(name: str, table: Mapping[str, T], key: str, what: str) -> T:
    if name in table:
        return table[name]
    raise ConfigError(f"{key} = {name!r} is not a known {what}; {did_you_mean(name, table)}")


def _in_workspace(profile: Profile, config: EndpointConfig) -> Profile:
    """Hosts of 2026 carry the workspace and the region in their name."""
    if not (config.workspace and config.region):
        raise ConfigError(
            "endpoint dashscope-workspace needs endpoint.workspace and endpoint.region "
            "(such as ap-southeast-1); add them"
        )
    ids = {name: region_id for region_id, name in _REGIONS.items()}
    if config.region in ids:
        raise ConfigError(
            f"endpoint.region = {config.region!r} is not the id of a region; "
            f"did you mean {ids[config.region]}?"
        )
    host = f"{config.workspace}.{config.region}.maas.aliyuncs.com"
    return replace(
        profile,
        base_url=f"https://{host}/compatible-mode/v1",
        region=_REGIONS.get(config.region, config.region),
    )


def live_profile(profile: Profile) -> Profile:
    """Where requests go one by one that a job of the same account has left without an answer.

    Without speech, which no job has: a row is the same on both ways.
    """
    live = DIALECTS["openai" if profile.dialect.name.startswith("openai") else "dashscope"]
    return replace(profile, dialect=replace(live, speaks=False), price_factor=1.0)


def read_api_key(profile: Profile) -> ApiKey | None:
    """The key from the environment; None where the endpoint needs none; a simulator's is known.

    Raises:
        ConfigError: the variable is missing, empty or not a header value.
    """
    if profile.api_key_env is None:
        return SIMULATED_KEY if profile.embedded else None
    key = ApiKey(os.environ.get(profile.api_key_env, "").strip())
    if not key.value:
        remedy = f"run: export {profile.api_key_env}=…"
        if profile.api_key_block:
            remedy += f", or let Prefect run it, which reads the block {profile.api_key_block}"
        raise ConfigError(
            f"endpoint {profile.name} needs an API key in the environment variable "
            f"{profile.api_key_env}, which is not set; {remedy}"
        )
    if not re.fullmatch("[!-~]+", key.value):
        raise ConfigError(
            f"the environment variable {profile.api_key_env} contains characters that are "
            "invalid in an API key; set it again"
        )
    return key
