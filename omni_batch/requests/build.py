"""Item + Messages → Request. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from omni_batch.catalogue import Model
from omni_batch.config import RequestConfig
from omni_batch.requests.request_options import REQUEST_OPTIONS, several_answers
from omni_batch.types import Item, Message, Modality, Request, kind_of

_ACCEPTED, _ACCEPTED_CJK = "Understood.", "好的。"


def build_request(
    item: Item,
    messages: Sequence[Message],
    config: RequestConfig,
    model_name: str,
    model: Model | None,
    instruction: str | None = None,
    response_format: Mapping[str, Any] | None = None,
) -> Request:
    """Put all together that decides the answer.

    Args:
        messages: the item's turns, at least one, their media loaded.
        model_name: as it goes over the wire (an alias stays an alias).
        model: its entry in the catalogue, None where it is unknown.
        instruction: what every answer has to be, below the system message: so all requests begin
            alike, which a context cache takes at a discount.
        response_format: the same for servers that hold answers to it; one in `extra` is the
            user's own word.
    """
    system = system_message(item, config.system, instruction)
    asks = config.spoken_rows == "all" or item.voice is not None
    wants_audio = config.wants_audio and asks
    turns = (*([Message("system", (system,))] if system else []), *messages)
    as_turns = wants_audio and model is not None and not model.system_with_audio
    as_turns = as_turns and any(turn.role == "system" for turn in turns)
    return Request(
        model=model_name,
        messages=tuple(_primed(turns)) if as_turns else turns,
        modality=_modality(messages[-1]),
        wants_audio=wants_audio,
        voice=(item.voice or _voice(config, model)) if wants_audio else item.voice,
        voice_is_default=not (item.voice or config.voice),
        role_as_turns=as_turns,
        thinking=_thinking(config.thinking, model),
        omni=model is None or model.omni,
        response_format=None if "response_format" in config.extra else response_format,
        options=_given(config, beside_media=False) | _extra(config, beside_media=False),
        media_options=_given(config, beside_media=True) | _extra(config, beside_media=True),
    )


def system_message(item: Item, configured: str | None, instruction: str | None) -> str:
    """The row's own or the config's, and below it what every answer has to be; "" for none."""
    system = item.system if item.system is not None else configured
    return "\n\n".join(filter(None, (system, instruction)))


def request_of_config(config: RequestConfig, model_name: str, model: Model | None) -> Request:
    """What every row asks for, before any is read: no turns, and options of media as if sent.

    It is spoken where any row may be; of `extra` only counts of answers are known.
    """
    voice = _voice(config, model)
    if config.spoken_rows == "with_voice":
        voice = _voice(RequestConfig(), model) or "a row's own"
    return Request(
        model=model_name,
        messages=(),
        modality="text",
        wants_audio=config.wants_audio,
        voice=voice if config.wants_audio else config.voice,
        voice_is_default=not config.voice and config.spoken_rows == "all",
        thinking=_thinking(config.thinking, model),
        options=_given(config, beside_media=False)
        | _given(config, beside_media=True)
        | several_answers(config.extra),
    )


def thinks(config: RequestConfig, model: Model | None) -> bool:
    """Whether the model answers in thinking mode, by the config or its own default."""
    if config.thinking is not None:
        return config.thinking
    return model is not None and model.thinking == "on"


def _thinking(wanted: bool | None, model: Model | None) -> bool | None:
    # Said only where it differs from the default: most models know no such switch.
    if wanted is None or model is None:
        return wanted
    return wanted if wanted != (model.thinking == "on") else None


_KEYS = [option for option in REQUEST_OPTIONS.values() if option.name in RequestConfig.model_fields]
_BESIDE_MEDIA = {
    beside: [option.name for option in _KEYS if bool(option.beside) == beside]
    for beside in (True, False)
}
"""Options with a key in the config: those that are sent beside media, and the others."""


def _given(config: RequestConfig, *, beside_media: bool) -> dict[str, Any]:
    names = _BESIDE_MEDIA[beside_media]
    return {name: value for name in names if (value := getattr(config, name)) is not None}


def _extra(config: RequestConfig, *, beside_media: bool) -> dict[str, Any]:
    """What `extra` names that has its place beside media, or all else."""
    return {
        name: value
        for name, value in config.extra.items()
        if bool(name in REQUEST_OPTIONS and REQUEST_OPTIONS[name].beside) == beside_media
    }


def _voice(config: RequestConfig, model: Model | None) -> str | None:
    return config.voice or (model.default_voice if model else None)


def _primed(turns: Iterable[Message]) -> Iterator[Message]:
    """The turns with a first exchange in place of each system message.

    A model that ignores the system message while it speaks is primed like this by the vendor's
    guide: a user turn gives the role, an assistant turn accepts it.
    """
    for turn in turns:
        if turn.role != "system":
            yield turn
            continue
        yield Message("user", turn.parts)
        yield Message("assistant", (_ACCEPTED_CJK if _is_cjk(turn) else _ACCEPTED,))


def _is_cjk(turn: Message) -> bool:
    text = "".join(part for part in turn.parts if isinstance(part, str))
    return any("\u4e00" <= char <= "\u9fff" for char in text)


def _modality(message: Message) -> Modality:
    """Of the last turn: its first kind of input besides text."""
    kinds = map(kind_of, message.parts)
    return next((kind for kind in kinds if kind != "text"), "text")
