"""Item + Media → Request. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from omni_batch.catalogue import Model
from omni_batch.config import RequestConfig
from omni_batch.requests.messages import FrameRefs, MediaRef, Turn
from omni_batch.types import Frames, Item, Media, Message, Modality, Part, Request

_OF_SOME_MODELS = (
    "thinking_budget",
    "reasoning_effort",
    "enable_search",
    "vl_high_resolution_images",
    "use_multichannel",
)
_OPTIONS = (
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "repetition_penalty",
    "max_tokens",
    "seed",
    "stop",
    *_OF_SOME_MODELS,
)
_MEDIA_OPTIONS = ("fps", "min_pixels", "max_pixels", "total_pixels")
SPECIAL_OPTIONS = frozenset(
    {
        *_OF_SOME_MODELS,
        *_MEDIA_OPTIONS,
        *("enable_thinking", "preserve_thinking", "search_options", "tools", "tool_choice"),
    }
)
"""Options that only some models take (chat reference, 2026); the catalogue lists them under
`parameters`. All others every model takes."""


def build_request(
    item: Item,
    turns: Iterable[Turn],
    media: Mapping[MediaRef, Media],
    config: RequestConfig,
    model_name: str,
    model: Model | None,
) -> Request:
    """Join the turns with their loaded media.

    Args:
        media: one entry for each reference in `turns`.
        model_name: as it goes over the wire (an alias stays an alias).
        model: its entry in the catalogue, None where it is unknown.
    """
    messages = tuple(
        Message(turn.role, tuple(_load(part, media) for part in turn.parts)) for turn in turns
    )
    system = item.system if item.system is not None else config.system
    wants_audio = is_spoken(item, config)
    return Request(
        model=model_name,
        messages=(*_system(system, wants_audio, model), *messages),
        modality=_modality(messages[-1]),
        wants_audio=wants_audio,
        voice=_voice(item, config, model) if wants_audio else None,
        thinking=_thinking(config.thinking, model),
        options=_set(config, _OPTIONS) | config.extra,
        media_options=_set(config, _MEDIA_OPTIONS),
    )


def is_spoken(item: Item, config: RequestConfig) -> bool:
    """Whether an item asks for speech."""
    every_row = config.spoken_rows == "all" or item.voice is not None
    return config.wants_audio and every_row


def options_set(config: RequestConfig) -> frozenset[str]:
    """Wire names of all request options that a config sets; False is as good as unsaid."""
    given = _set(config, _OPTIONS) | _set(config, _MEDIA_OPTIONS)
    return frozenset(name for name, value in given.items() if value is not False)


def thinks(config: RequestConfig, model: Model | None) -> bool:
    """Whether the answers will be thought out, by the config or the model's default."""
    if config.thinking is not None:
        return config.thinking
    return model is not None and model.thinking == "on"


def _thinking(wanted: bool | None, model: Model | None) -> bool | None:
    # Said only where it differs from the default: most models know no such switch.
    if wanted is None or model is None:
        return wanted
    return wanted if wanted != (model.thinking == "on") else None


def _set(config: RequestConfig, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(config, name)) is not None}


def _voice(item: Item, config: RequestConfig, model: Model | None) -> str | None:
    return item.voice or config.voice or (model.default_voice if model else None)


def _system(text: str | None, wants_audio: bool, model: Model | None) -> tuple[Message, ...]:
    if not text:
        return ()
    if wants_audio and model and not model.system_with_audio:
        # Such a model ignores the system message while it speaks; the vendor's guide primes it
        # with a user turn that gives the role and an assistant turn that accepts it.
        return Message("user", (text,)), Message("assistant", ("Understood.",))
    return (Message("system", (text,)),)


def _load(part: str | MediaRef | FrameRefs, media: Mapping[MediaRef, Media]) -> Part:
    match part:
        case str():
            return part
        case MediaRef():
            return media[part]
        case FrameRefs(images):
            return Frames(tuple(media[image] for image in images))


def _modality(message: Message) -> Modality:
    """Of the last turn: what it holds besides text, the first kind where it mixes them."""
    for part in message.parts:
        match part:
            case Media(kind=kind):
                return kind
            case Frames():
                return "frames"
            case str():
                continue
    return "text"
