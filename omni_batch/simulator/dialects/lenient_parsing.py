"""How requests are read by servers that check less than the hosted service."""

import binascii
from collections.abc import Callable, Mapping

import pybase64

from omni_batch.simulator.checks.chat import Body, Chat, Part, Turn
from omni_batch.simulator.checks.models import Model
from omni_batch.simulator.checks.parameters import find_choices, find_stop_words
from omni_batch.simulator.checks.refusal import Refusal, Refused

Readers = Mapping[str, Callable[[Body], Part]]
"""Type of a part to how it is read."""
DEFAULT_VOICE = "Ethan"
"""Who speaks where no voice is named, or none is asked."""


def rejected(message: str, *, code: str | None = None, param: str | None = None) -> Refused:
    """400: the request itself is wrong."""
    return Refused(Refusal(400, code, message, "invalid_request_error", param=param))


def any_model(body: Body) -> str:
    """The model's name, whatever it is."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise rejected("Field required: model")
    return name


def read_turns(messages: object, readers: Readers) -> tuple[Turn, ...]:
    """Turn the `messages` of a body into turns; any order of roles is accepted."""
    if not isinstance(messages, list) or not messages:
        raise rejected("Field required: messages")
    return tuple(_turn(message, readers) for message in messages)


def _turn(message: object, readers: Readers) -> Turn:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise rejected("Input should be a valid dictionary: messages")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return Turn(message["role"], (Part("text", content or ""),))
    if not isinstance(content, list):
        raise rejected("Input should be a valid string: messages.content")
    return Turn(message["role"], tuple(_part(item, readers) for item in content))


def _part(item: object, readers: Readers) -> Part:
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(item, dict) or kind not in readers:
        raise rejected(f"Unknown part type: {kind}")
    return readers[str(kind)](item)


def text_part(item: Body) -> Part:
    """{"type": "text", "text": ...}."""
    text = item.get("text")
    if not isinstance(text, str):
        raise rejected("Input should be a valid string: messages.content.text")
    return Part("text", text)


def url_part(kind: str) -> Callable[[Body], Part]:
    """{"type": "<kind>_url", "<kind>_url": {"url": ...}}."""

    def read(item: Body) -> Part:
        return Part(kind, refs=(http_or_data(inner(item, f"{kind}_url", "url")),))

    return read


def inner(item: Body, outer: str, key: str) -> str:
    """A string one level down."""
    holder = item.get(outer)
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, str):
        raise rejected(f"Field required: messages.content.{outer}.{key}")
    return value


def http_or_data(url: str) -> str:
    """Give the URL back if a server can open it."""
    if not url.startswith(("http://", "https://", "data:")):
        raise rejected("The URL must be either a HTTP, data or file URL.")
    return url


def raw_audio(item: Body) -> Part:
    """{"type": "input_audio", "input_audio": {"data": <bare base64>, "format": ...}}."""
    data = inner(item, "input_audio", "data")
    try:
        # A data URI is not base64: the decoder fails at its colon and comma.
        pybase64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise rejected("Incorrect padding") from None
    return Part("audio", refs=(f"data:;base64,{data}",))


def check_counts(turns: tuple[Turn, ...], most: int) -> None:
    """Refuse more media of one kind than the server was started for."""
    kinds = [part.kind for turn in turns for part in turn.media]
    for kind in kinds:
        if kinds.count(kind) > most:
            raise rejected(f"At most {most} {kind}(s) may be provided in one prompt.")


_RANGES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda v: v >= 0, "temperature must be non-negative, got {value}."),
    "top_p": (lambda v: 0 < v <= 1, "top_p must be in (0, 1], got {value}."),
    "n": (lambda v: v >= 1, "n must be at least 1, got {value}."),
    "max_tokens": (lambda v: v >= 1, "max_tokens must be at least 1, got {value}."),
    "max_completion_tokens": (lambda v: v >= 1, "max_tokens must be at least 1, got {value}."),
}


def check_sampling(body: Body) -> None:
    """Refuse numbers outside the ranges that samplers know."""
    for name, (fits, message) in _RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise rejected(f"Input should be a valid number: {name}")
        if not fits(value):
            raise rejected(message.format(value=value))


def chat_of(
    body: Body,
    model: Model,
    turns: tuple[Turn, ...],
    *,
    voice: str | None,
    include_usage: bool,
    thinking: bool = False,
) -> Chat:
    """A request whose other parameters are taken as they are."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Chat(
        model=model,
        turns=turns,
        voice=voice,
        thinking=thinking,
        stream=body.get("stream") is True,
        include_usage=include_usage,
        max_tokens=limit if isinstance(limit, int) else model.max_output_tokens,
        high_resolution=False,
        stops=find_stop_words(body),
        choices=1 if voice else find_choices(body),
    )


def include_usage(body: Body) -> bool:
    """stream_options.include_usage."""
    options = body.get("stream_options")
    if options and body.get("stream") is not True:
        raise rejected("Stream options can only be defined when `stream=True`.")
    return isinstance(options, dict) and options.get("include_usage") is True
