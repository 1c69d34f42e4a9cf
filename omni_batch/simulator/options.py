"""What a simulator is told before it starts."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "reset": "the connection is reset before any header",
        "stall_first": "not one byte is sent until the client hangs up",
        "stall": "the stream stops half-way and stays open",
        "cut": "the stream is cut off half-way, without the last HTTP chunk",
        "cut_clean": "the stream ends properly, but before any finish_reason",
        "cut_line": "the stream ends inside a JSON line, or inside a UTF-8 character",
        "in_band_error": "an error frame arrives after some deltas of a 200",
        "empty": "200 with an empty stream",
        "done_only": "200 with nothing but [DONE]",
        "html_502": "502 with a gateway's HTML page",
        "error_500": "500 internal_error",
        "error_503": "503 ModelServingError",
        "rate_limit": "429 limit_requests",
        "burst": "429 limit_burst_rate",
        "quota": "429 insufficient_quota, which means tokens per minute here",
        "empty_429": "429 with an empty body",
        "partial_response": "200 whose header says that the reply was cut by a server timeout",
    }
)
"""Every kind of fault, and what the client sees."""

FRAMINGS: Mapping[str, str] = MappingProxyType(
    {
        "plain": "frames as the service writes them",
        "comments": "keep-alive comment lines between frames",
        "crlf": "lines end with CR LF",
        "tiny": "writes of 1 to 7 bytes",
        "one_write": "the whole stream at once, as a buffering proxy delivers it",
    }
)
"""Every way in which the same frames can be put on the wire."""

WAV_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "none": "bare PCM, as the service sends it",
        "first": "the first piece of speech begins with a WAV header",
        "every": "every piece does, as some servers of the same models send it",
    }
)
"""Whether speech carries WAV headers."""


def known(word: str, words: Collection[str], what: str) -> str:
    """Give `word` back if it is one of `words`.

    Raises:
        ValueError: it is not; the message names the nearest one.
    """
    if word in words:
        return word
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.0)
    raise ValueError(
        f"unknown {what} {word!r}; did you mean {near[0]!r}? (one of {', '.join(words)})"
    )


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
    """The one good key; None takes any key that begins with "sk-"."""
    requests_per_minute: float | None = None
    """Per model; the per-second share is enforced as well. None is no limit."""
    tokens_per_minute: float | None = None
    """Per model, prompt and completion together. None is no limit."""
    first_chunk_s: float = 0.0
    """Wait before the first byte of a reply."""
    chunk_interval_s: float = 0.0
    """Wait between two frames."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Kind of fault to its probability, 0 to 1; together at most 1."""
    audio_chunk_bytes: int = 19_200
    """PCM bytes in one audio frame: 0.4 s, and a multiple of 3, so base64 needs no padding."""
    keep_requests: int = 1000
    """How many of the latest requests are kept, media and all, for `Simulator.requests`."""
    shuffle_keys: bool = False
    """Give every frame its own order of keys, as the service was seen to do."""
    realtime: bool = False
    """Send audio frames no faster than they play."""
    framing: str = "plain"
    """One of `FRAMINGS`."""
    wav_headers: str = "none"
    """One of `WAV_HEADERS`."""

    def __post_init__(self) -> None:
        known(self.framing, FRAMINGS, "framing")
        known(self.wav_headers, WAV_HEADERS, "wav_headers")
        for kind, probability in self.faults.items():
            known(kind, FAULTS, "fault")
            if not 0 <= probability <= 1:
                raise ValueError(f"fault {kind!r} has probability {probability}; give 0 to 1")
        if sum(self.faults.values()) > 1 + 1e-9:
            raise ValueError(f"fault probabilities add up to {sum(self.faults.values())}, above 1")
        if self.audio_chunk_bytes < 1:
            raise ValueError(f"audio_chunk_bytes is {self.audio_chunk_bytes}; give 1 or more")
