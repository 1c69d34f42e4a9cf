"""The options of a request, once: where each goes on the wire, who takes it, what bounds it. Pure.

Keys of `request` in the config have the same names. To add one: a field of `RequestConfig` with its
range, a row here, and `parameters` of the models that take it where it is not common to all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omni_batch.types import Frames, Media, Modality, Request

_SEEN: frozenset[Modality] = frozenset({"image", "video", "frames"})
_MOVING: frozenset[Modality] = frozenset({"video", "frames"})


@dataclass(frozen=True, slots=True)
class RequestOption:
    """One option. Source: Model Studio chat reference, 2026."""

    name: str
    """On the wire and in the config."""
    beside: frozenset[Modality] = frozenset()
    """Kinds of media beside which it is sent; empty for a top-level member of the request."""
    inside: bool = False
    """It stands inside the medium's object, with its URL, not beside that."""
    of_some_models: bool = False
    """Only models whose `parameters` in the catalogue list it take it; else every model does."""
    openai: bool = False
    """Part of OpenAI's own API (its reference, 2026)."""
    cap: str | None = None
    """Field of the catalogue's model with its largest value."""


_ROWS = (
    RequestOption("temperature", openai=True),
    RequestOption("top_p", openai=True),
    RequestOption("top_k"),
    RequestOption("presence_penalty", openai=True),
    RequestOption("repetition_penalty"),
    RequestOption("max_tokens", openai=True, cap="max_output_tokens"),
    RequestOption("seed", openai=True),
    RequestOption("stop", openai=True),
    RequestOption("thinking_budget", of_some_models=True, cap="max_thinking_tokens"),
    RequestOption("reasoning_effort", of_some_models=True, openai=True),
    RequestOption("enable_search", of_some_models=True),
    RequestOption("vl_high_resolution_images", of_some_models=True),
    RequestOption("use_multichannel", of_some_models=True),
    RequestOption("fps", beside=_MOVING, of_some_models=True),
    RequestOption("min_pixels", beside=_SEEN, of_some_models=True),
    RequestOption("max_pixels", beside=_SEEN, of_some_models=True),
    RequestOption("total_pixels", beside=_MOVING, of_some_models=True),
    # Without a key of its own: `messages` may give it to an image.
    RequestOption("detail", beside=frozenset({"image"}), inside=True, openai=True),
    # Without a key of their own in the config; they come through `request.extra`.
    RequestOption("enable_thinking", of_some_models=True),
    RequestOption("preserve_thinking", of_some_models=True),
    RequestOption("search_options", of_some_models=True),
    RequestOption("tools", of_some_models=True, openai=True),
    RequestOption("tool_choice", of_some_models=True, openai=True),
)
REQUEST_OPTIONS = {option.name: option for option in _ROWS}
_COUNTS_OF_ANSWERS = ("n", "best_of", "num_return_sequences")
"""Options of the chat API and its relatives that ask, and pay, for more than one answer."""


def options_beside(part: Media | Frames, request: Request) -> dict[str, Any]:
    """What is asked for one medium: its own options, else those of the request for its kind."""
    for_all = {
        name: value
        for name, value in request.media_options.items()
        if name in REQUEST_OPTIONS and part.kind in REQUEST_OPTIONS[name].beside
    }
    return for_all | {name: value for name, value in part.options if name in REQUEST_OPTIONS}


def several_answers(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that ask for more than one answer."""
    counts = {name: options[name] for name in _COUNTS_OF_ANSWERS if options.get(name) is not None}
    return {name: n for name, n in counts.items() if str(n).strip() not in ("1", "1.0")}
