"""Options of a simulator, set before it starts or while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

import msgspec

from omni_batch.simulator import option_values as values
from omni_batch.simulator.fault_kinds import FAULTS
from omni_batch.simulator.option_values import one_of

_CHOICES: Mapping[str, Mapping[str, str]] = {
    "dialect": values.DIALECTS,
    "edition": values.EDITIONS,
    "region": values.REGIONS,
    "framing": values.FRAMINGS,
    "wav_headers": values.WAV_HEADERS,
    "base64_cut": values.BASE64_CUTS,
    "usage_in": values.USAGE_PLACES,
    "usage_details": values.USAGE_DETAILS,
    "reasoning_counted": values.REASONING_COUNTED,
    "reasoning_key": values.REASONING_KEYS,
    "window": values.WINDOWS,
}
"""Options that are chosen by name."""

_LEAST: Mapping[str, float] = {
    **dict.fromkeys(("audio_chunk_bytes", "media_per_kind", "max_file_size_mb"), 1),
    **dict.fromkeys(("upload_valid_s", "policy_valid_s", "first_chunk_s", "chunk_interval_s"), 0),
    **dict.fromkeys(("batch_wait_s", "batch_most_waiting", "job_s"), 0),
    **{"speech_rate_hz": 8000, "burst_growth_per_s": 1, "burst": 1},
}
"""Smallest values of options that are numbers."""

FIXED = frozenset({"host", "port", "seed", "keep_requests", "scriptable", "dialect"})
"""Options that can't change while a simulator runs."""


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """All that decides how a simulator behaves; the same options give the same run.

    Raises:
        ValueError: an unknown fault or framing, or a number outside its range.
    """

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port."""
    seed: int = 0
    """With a request's ordinal it decides faults and key order."""
    api_key: str | None = None
    """The one good key; None takes any key that begins with "sk-", or in self-hosted dialects any
    key or none."""
    requests_per_minute: float | None = None
    """Per model. None is no limit."""
    tokens_per_minute: float | None = None
    """Per model, prompt and completion together. None is no limit."""
    window: str = "bucket"
    """How both limits are counted, one of `WINDOWS`."""
    burst: float | None = None
    """bucket: how many requests may come at once; None is what two seconds earn."""
    first_chunk_s: float = 0.0
    """Wait before the first byte of a reply."""
    chunk_interval_s: float = 0.0
    """Wait between two frames."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Kind of fault to its probability, 0 to 1; together at most 1."""
    audio_chunk_bytes: int = 19_200
    """PCM bytes in one audio frame: 0.4 s, and a multiple of 3, so base64 needs no padding. An odd
    number splits samples; one that 3 does not divide pads every piece."""
    keep_requests: int = 1000
    """How many of the latest requests are kept, media and all, for `Simulator.requests`."""
    shuffle_keys: bool = False
    """Give every frame its own order of keys, as the service was seen to do."""
    realtime: bool = False
    """Send audio frames no faster than they play."""
    framing: str = "plain"
    """One of `FRAMINGS`."""
    wav_headers: str = "usual"
    """One of `WAV_HEADERS`."""

    dialect: str = "dashscope"
    """One of `DIALECTS`."""
    edition: str = "latest"
    """dashscope: which edition of the guide is played, one of `EDITIONS`."""
    region: str = "beijing"
    """dashscope: one of `REGIONS`."""
    reasoning_key: str = "reasoning_content"
    """One of `REASONING_KEYS`."""
    flat_errors: bool = False
    """vllm, vllm-omni: errors without the outer "error" object, as older builds send them."""
    media_per_kind: int = 1
    """vllm, vllm-omni: most media of each kind in one request."""
    speech_rate_hz: int = 24_000
    """vllm-omni, sglang-omni: sample rate of speech; some builds speak at 44,100."""
    talker: bool = True
    """vllm-omni, sglang-omni: False never speaks, and says nothing about it."""

    base64_cut: str = "pieces"
    """One of `BASE64_CUTS`."""
    usage_in: str = "usual"
    """One of `USAGE_PLACES`."""
    usage_details: str = "plain"
    """One of `USAGE_DETAILS`."""
    reasoning_counted: str = "usual"
    """One of `REASONING_COUNTED`."""
    misspelt_keys: bool = False
    """dashscope: some frames misspell `created` and `system_fingerprint`, as in its samples."""
    joint_frames: bool = False
    """dashscope: frames that carry words carry speech as well, as long as there is any."""
    transcript: bool | None = None
    """dashscope: spoken words come as `delta.audio.transcript`; None does as the model does."""

    burst_growth_per_s: float | None = None
    """By how many requests one second may exceed the one before; None is no limit."""
    send_retry_after: bool = False
    """429s say in Retry-After how long to wait."""
    upload_valid_s: float = 48 * 3600.0
    """How long an uploaded file can be used."""
    policy_valid_s: float = 300.0
    """How long an upload may begin after its policy was given out."""
    max_file_size_mb: int = 1024
    """Largest upload."""
    batch_wait_s: float = 0.0
    """How long Batch Chat keeps a request waiting."""
    job_s: float = 0.0
    """How long a job of the Batch API takes."""
    batch_most_waiting: int = 10_000
    """Requests that may wait in Batch Chat at once, for each model."""
    scriptable: bool = False
    """Answer /simulator/..., by which another process on this machine scripts the simulator."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:  # the system would take another one without a word
            raise ValueError(f"port is {self.port}; give 0 to 65535")
        for name, words in _CHOICES.items():
            one_of(getattr(self, name), words, name)
        for name, least in _LEAST.items():
            if (number := getattr(self, name)) is not None and number < least:
                raise ValueError(f"{name} is {number}; give {least:g} or more")
        if self.burst is not None and self.window != "bucket":
            raise ValueError(f"burst is {self.burst:g}, but window {self.window} has none")
        self._check_faults()

    def _check_faults(self) -> None:
        for kind, probability in self.faults.items():
            one_of(kind, FAULTS, "fault")
            if not 0 <= probability <= 1:
                raise ValueError(f"fault {kind!r} has probability {probability}; give 0 to 1")
        if sum(self.faults.values()) > 1 + 1e-9:
            raise ValueError(f"fault probabilities add up to {sum(self.faults.values())}, above 1")

    @property
    def has_batch_chat(self) -> bool:
        """Whether the server has the queue at half the price beside it."""
        return self.dialect == "dashscope" and self.region == "beijing"

    @property
    def has_jobs(self) -> bool:
        """Whether the server takes files of requests; Singapore has no omni model for them."""
        return self.has_batch_chat or self.dialect == "openai"

    def changed(self, changes: Mapping[str, object]) -> Self:
        """The same options but for some, while a simulator runs.

        Raises:
            ValueError: an unknown name, a value that does not fit, or an option of `FIXED`.
        """
        now = self.members()
        for name in changes:
            if one_of(name, now, "option") in FIXED:
                raise ValueError(f"{name} can't change while the simulator runs")
        return msgspec.convert({**now, **changes}, type(self))

    def members(self) -> dict[str, object]:
        """All options by name, in types that JSON knows."""
        named = {option.name: getattr(self, option.name) for option in fields(self)}
        return {**named, "faults": dict(self.faults)}
