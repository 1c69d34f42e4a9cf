"""`endpoint`: where to send requests."""

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from omni_batch.config.frozen import Frozen
from omni_batch.config.quota import QuotaConfig


class EndpointConfig(Frozen):
    """Where to send them: one endpoint."""

    name: str = "simulator"
    """A profile: simulator, dashscope-beijing, dashscope-singapore, dashscope-workspace,
    dashscope-batch-chat, dashscope-batch, openai, openai-batch, vllm, vllm-omni, sglang-omni,
    litellm or custom."""
    dialect: str | None = None
    """How to talk to it, where the profile's way is wrong: mostly for `custom`."""
    workspace: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]{1,32}$")
    """Both for dashscope-workspace, whose host is made of them."""
    base_url: str | None = None
    """Overrides the profile's; ends before /chat/completions."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    insecure: bool = False
    """Send the key to another machine over http://, which all on the way can read."""
    api_key_block: str | None = Field(default=None, pattern=r"^[a-z0-9-]{1,100}$")
    """Name of a Prefect Secret block that holds it, where the environment does not: for flows."""

    completion_window_h: int = Field(default=24, ge=24, le=336)
    """Of the endpoints whose requests go as files: hours within which the service ends a job."""
    fallback: Literal["job", "live", "fail"] = "job"
    """Of the same: what becomes of rows that a job leaves without an answer. job: they go into
    another job, into three at most. live: they are sent one by one, at the full price. fail: they
    fail."""
    lost_jobs: Literal["ask", "again"] = "ask"
    """Of the same: a job whose creation was not answered, and that the service does not list. ask:
    the run stops and asks. again: it is made again, and may be paid for twice."""

    label: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Its name in the tables, where two have the same profile; null takes the profile's name."""
    rows: Literal["all", "spoken", "silent"] = "all"
    """Which rows it takes: all, those that ask for speech, those that do not."""
    weight: float = Field(default=1, gt=0, le=1000)
    """Its share of the rows while several have room."""
    quota: QuotaConfig | None = None
    """Its own; null takes the config's."""

    @field_validator("base_url")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        return None if url is None else _base_url(url)

    @field_validator("api_key_env")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("must be the name of an environment variable, not the key itself")
        return name


def _base_url(url: str) -> str:
    """As it is used; a ValueError says what is wrong and does not repeat what may be a secret."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if "@" in url:
        raise ValueError("must not contain a user or password; keys come from the environment")
    if "?" in url or "#" in url:
        raise ValueError("must not contain a query (?…) or fragment (#…); end it before them")
    if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise ValueError("must not contain blanks, backslashes or characters other than ASCII")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("has an invalid host or port; write https://HOST:PORT/v1") from None
    if not host or port == 0 or not re.fullmatch(r"[\w.:%-]+", host):
        raise ValueError("has no valid host or port; write https://HOST:PORT/v1")
    return f"{scheme}://{rest}".rstrip("/")
