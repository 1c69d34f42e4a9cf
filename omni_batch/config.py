"""The configuration of a run: YAML, checked, frozen. No secret is ever part of it."""

import math
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from omni_batch.errors import ConfigError
from omni_batch.text import did_you_mean

_NEVER_SHOWN = ("base_url", "api_key_env", "api_key_block")
"""Keys of endpoints that people put secrets into by mistake; their values stay out of messages."""


class Frozen(BaseModel):
    """A part of the configuration: unknown keys are refused, values can't change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Target = Literal["prompt", "image", "audio", "video", "frames", "system", "voice", "messages"]
"""Columns of a manifest with a meaning, besides the id."""


class ManifestConfig(Frozen):
    """Which rows to send."""

    path: str = Field(min_length=1)
    """File, or any URL that fsspec opens: CSV, TSV, JSONL (also .ndjson) or Parquet. Or a folder or
    glob of media files."""
    id_column: str = "item_id"
    """Column that names each row; where it is missing, the id is made of the name of the row's
    file, or of its content."""
    columns: dict[Target, str] = {}
    """Names of columns in the manifest, where they differ: {image: file_name}."""
    free_columns: tuple[str, ...] = ()
    """Columns that hold nothing to send, whatever they look like."""

    @model_validator(mode="after")
    def _one_sense_for_each_column(self) -> Self:
        named = list(self.columns.values())
        if doubled := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"manifest.columns has {doubled[0]} more than once; keep one")
        if both := sorted(set(named).intersection(self.free_columns)):
            raise ValueError(
                f"{both[0]} is in manifest.columns and in manifest.free_columns; keep one"
            )
        return self


_OWNED = frozenset({"model", "messages", "stream", "stream_options", "modalities", "audio"})


class RequestConfig(Frozen):
    """What to ask for. Ranges are the service's own (Model Studio chat reference, 2026)."""

    system: str | None = None
    prompt: str | None = None
    """Jinja2 template over the row's columns; a row's own `prompt` takes its place."""
    modalities: tuple[Literal["text", "audio"], ...] = ("text",)
    voice: str | None = None
    spoken_rows: Literal["all", "with_voice"] = "all"
    """with_voice: only rows that name a `voice` of their own are spoken, all others are text."""
    thinking: bool | None = None
    """null leaves it to the model's default."""
    thinking_budget: int | None = Field(default=None, ge=1)
    """Tokens of thinking; not together with reasoning_effort."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    temperature: float | None = Field(default=None, ge=0, lt=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    stop: str | tuple[str, ...] | None = None
    enable_search: bool | None = None
    vl_high_resolution_images: bool | None = None
    use_multichannel: bool | None = None
    fps: float | None = Field(default=None, ge=0.1, le=10)
    """Frames a second that are looked at in a video; how far apart the frames of a list are."""
    min_pixels: int | None = Field(default=None, ge=4_096, le=16_777_216)
    max_pixels: int | None = Field(default=None, ge=4_096, le=16_777_216)
    total_pixels: int | None = Field(default=None, ge=1)
    """For each image and video; the model's defaults are in its documents."""
    extra: dict[str, Any] = {}
    """Further top-level members of the request, sent unchanged."""

    @field_validator("modalities")
    @classmethod
    def _text_first(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if sorted(value) not in (["text"], ["audio", "text"]):
            raise ValueError("must be [text] or [text, audio]")
        return value

    @model_validator(mode="after")
    def _one_way_to_limit_thinking(self) -> Self:
        if self.thinking_budget is not None and self.reasoning_effort is not None:
            raise ValueError("thinking_budget and reasoning_effort exclude each other; keep one")
        if owned := _OWNED.intersection(self.extra):
            raise ValueError(f"extra can't contain {', '.join(sorted(owned))}; use their own keys")
        return self

    @property
    def wants_audio(self) -> bool:
        """True when speech is asked for."""
        return "audio" in self.modalities


class MediaConfig(Frozen):
    """How local media are reached."""

    transport: Literal["auto", "url", "inline", "upload"] = "auto"
    """auto: the service fetches http(s) URLs where it can, files travel inline up to its cap and
    by temporary upload above it. url: files are refused. inline: all is sent within the request.
    upload: files are always uploaded first."""
    max_body_bytes: int = Field(default=9_000_000, ge=1)
    """Most bytes of files inside one request where the rest can be uploaded instead."""
    download_max_bytes: int = Field(default=256 * 2**20, ge=1)
    """Largest media that we fetch ourselves, for servers that can't."""
    allow_private_downloads: bool = False
    """Whether we may fetch from loopback and private addresses."""
    probe_urls: Literal["ranges", "head", "off"] | None = None
    """How media behind http(s) URLs are probed. ranges: type, size and length by their first and
    last bytes. head: type and size by what the host says. off: all of it is guessed. None: ranges
    in `check`, off in a run."""
    probe_urls_max: int = Field(default=10_000, ge=1)
    """Most different URLs to probe; the rest is guessed, which is said."""
    fit: Literal["refuse"] = "refuse"
    """refuse: media over a limit fail their item; nothing is converted."""
    roots: tuple[str, ...] = (".",)
    """Folders that local references may lie in, relative to the manifest's folder."""


class QuotaConfig(Frozen):
    """What the account may use. None takes the catalogue's value for the model."""

    requests_per_minute: float | None = Field(default=None, ge=0.01, le=1e9)
    tokens_per_minute: float | None = Field(default=None, ge=1, le=1e12)
    max_in_flight: int | None = Field(default=None, ge=1, le=4096)
    """None takes the endpoint's: 16, or more where answers wait in a queue."""
    adaptive: bool = True
    """Learn what is let through where the numbers are too high; false keeps to them."""
    explore: bool = False
    """Try more than the numbers where they bind and nothing is refused."""


class EndpointConfig(Frozen):
    """Where to send them: one endpoint."""

    name: str = "simulator"
    """A profile: simulator, dashscope-beijing, dashscope-singapore, dashscope-workspace,
    dashscope-batch-chat, openai, vllm, vllm-omni, sglang-omni, litellm or custom."""
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


class RetryConfig(Frozen):
    """When to try again and how long to wait for an answer."""

    max_attempts: int = Field(default=5, ge=1)
    """Tries for each item; a wait for quota is not one."""
    first_wait_s: float = Field(default=2, ge=0)
    max_wait_s: float = Field(default=60, ge=0)
    connect_timeout_s: float = Field(default=15, gt=0)
    first_byte_timeout_s: float | None = Field(default=None, gt=0)
    """null: the endpoint's own, 120 or more."""
    idle_timeout_s: float = Field(default=90, gt=0)
    """Longest silence inside a stream."""
    item_timeout_s: float | None = Field(default=None, gt=0)
    """Most time for all attempts of an item, waits for quota not counted; null: an hour, or what
    two answers of a slow endpoint may take."""
    outage_timeout_s: float = Field(default=600, ge=0)
    """How long an endpoint may be down before the run stops."""


_COST = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?: +([A-Za-z]{3}))?")


@dataclass(frozen=True, slots=True)
class CostLimit:
    """An amount of money: `5 USD`, or `5` where the endpoints are paid in one currency."""

    amount: float
    currency: str | None = None
    """ISO 4217."""

    def __str__(self) -> str:
        return f"{self.amount:.12g} {self.currency}" if self.currency else f"{self.amount:.12g}"

    @classmethod
    def of(cls, value: Any) -> Any:
        """Read what a config holds; ValueError where it is no amount above 0."""
        if value is None or isinstance(value, cls):
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        found = _COST.fullmatch(value.strip()) if isinstance(value, str) else None
        amount = float(found[1]) if found else float(value) if number else math.nan
        if not 0 < amount < math.inf:
            raise ValueError("must be an amount above 0, such as 5 USD")
        return cls(amount, found[2].upper() if found and found[2] else None)

    def kept(self) -> str | float:
        """As a config holds it."""
        return str(self) if self.currency else self.amount


class BudgetConfig(Frozen):
    """When to stop spending. None: no limit."""

    max_cost: Annotated[
        CostLimit | None,
        BeforeValidator(CostLimit.of),
        PlainSerializer(lambda limit: limit and limit.kept()),
    ] = None
    """An amount with its currency, such as 5 USD; without one it is the endpoint's."""
    max_tokens: int | None = Field(default=None, gt=0)
    max_failure_rate: float | None = Field(default=None, gt=0, le=1)
    """Share of failed items, judged after the first 50."""
    unbilled_media: Literal["stop", "warn"] = "stop"
    """What to do where the service bills rows as if their media had not been there."""


class Config(Frozen):
    """Everything that decides a run, but the key."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    manifest: ManifestConfig
    output: str = "data/runs"
    catalogue: str | None = None
    """TOML file over the shipped catalogue: models, prices and limits of your own."""
    model: str = "qwen3-omni-flash"
    endpoint: EndpointConfig = EndpointConfig()
    endpoints: tuple[EndpointConfig, ...] = ()
    """Several at once, in place of `endpoint`."""
    request: RequestConfig = RequestConfig()
    media: MediaConfig = MediaConfig()
    quota: QuotaConfig = QuotaConfig()
    retry: RetryConfig = RetryConfig()
    budget: BudgetConfig = BudgetConfig()
    reuse: tuple[str, ...] | None = None
    """Globs of earlier run directories whose answers are not paid for again."""
    shard_size: int | Literal["auto"] = "auto"
    durability: Literal["process", "disk"] = "process"
    """process: an item is done when the system has it, safe from `kill -9`. disk: when the disk has
    it, safe from the loss of power."""
    shutdown_grace_s: float = Field(default=30, ge=0)
    """How long requests in flight may take to end after the first Ctrl-C."""
    limit: int | None = Field(default=None, ge=1)
    """Only the manifest's first rows."""

    @model_validator(mode="after")
    def _one_way_to_name_endpoints(self) -> Self:
        if self.endpoints and self.endpoint != EndpointConfig():
            raise ValueError("endpoint and endpoints exclude each other; keep one")
        labels = [entry.label or entry.name for entry in self.endpoints]
        if doubled := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(
                f"endpoints contains {doubled[0]} more than once; give each its own label"
            )
        return self

    @property
    def all_endpoints(self) -> tuple[EndpointConfig, ...]:
        """`endpoints`, or the one `endpoint`."""
        return self.endpoints or (self.endpoint,)

    @field_validator("reuse", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("shard_size")
    @classmethod
    def _sane_shard(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 100_000:
            raise ValueError("must be auto or between 1 and 100000")
        return value


def check_request(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names and ranges of `request`; values as a config would hold them.

    Raises:
        ConfigError: names each that is wrong.
    """
    try:
        checked = RequestConfig.model_validate(options)
    except ValidationError as exc:
        problems = (_explain(error) for error in exc.errors(include_url=False))
        raise ConfigError("; ".join(problems)) from None
    return {name: getattr(checked, name) for name in options}


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file; `overrides` are `a.b=value` pairs, values in YAML.

    Raises:
        ConfigError: the file can't be read, or a key or value is wrong.
    """
    return parse_config(override_tree(_read_yaml(Path(path)), overrides), str(path))


def override_tree(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of a tree of plain values with `a.b=value` pairs put in.

    Raises:
        ConfigError: a pair is malformed, or a group of keys is a value.
    """
    changed = deepcopy(dict(tree))
    for override in overrides:
        _override(changed, override)
    return changed


def parse_config(tree: Mapping[str, Any], origin: str = "config") -> Config:
    """Check a tree of plain values.

    Raises:
        ConfigError: names every wrong key with the nearest known one.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as exc:
        problems = "; ".join(_explain(error) for error in exc.errors(include_url=False))
        raise ConfigError(f"{origin}: {problems}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a duplicate key, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"line {line}: duplicate key {key.value}; keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise ConfigError(f"config {path} does not exist; give the path of a YAML file") from None
    except (OSError, ValueError, yaml.YAMLError) as exc:  # YAML's dates raise plain ValueError
        raise ConfigError(f"config {path} can't be read as YAML: {_where(exc)}") from None
    except RecursionError:
        raise ConfigError(f"config {path} is nested too deeply; make it flatter") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"config {path} contains {type(tree).__name__}; expected keys: values")
    return tree


def _override(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    *parents, leaf = key.strip().split(".")
    if not separator or not leaf:
        raise ConfigError(f"--set {override}: write it as a.b=value")
    for parent in parents:
        branch = tree.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a group of keys")
        tree = branch
    try:
        tree[leaf] = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as exc:
        quoted = f"; put it in quotes: {key}='…'" if "{{" in text else ""
        raise ConfigError(
            f"--set {override}: the value is not YAML: {_where(exc)}{quoted}"
        ) from None


def _where(exc: Exception) -> str:
    """What YAML does not understand, in one line."""
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem and exc.problem_mark:
        return f"line {exc.problem_mark.line + 1}: {exc.problem}"
    return str(exc)


def _explain(error: Any) -> str:
    *parents, leaf = [str(part) for part in error["loc"]] or [""]
    where = ".".join([*parents, leaf])
    if error["type"] == "extra_forbidden":
        return f"unknown key {where}; {_nearest_key(parents, leaf)}"
    if error["type"] == "missing":
        return f"{where} is missing; add it"
    message = error["msg"].removeprefix("Value error, ")
    if not where:  # about several keys at once
        return str(message)
    value = "…" if leaf in _NEVER_SHOWN else repr(error["input"])
    return f"{where} = {value}: {message[:1].lower()}{message[1:]}"


def _nearest_key(parents: list[str], leaf: str) -> str:
    model: type[BaseModel] = Config
    for parent in parents:
        if not parent.isdigit():  # a number is one of a list of groups
            annotation = model.model_fields[parent].annotation
            kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
            model = next(kind for kind in kinds if issubclass(kind, BaseModel))
    return did_you_mean(leaf, model.model_fields, "known keys")
