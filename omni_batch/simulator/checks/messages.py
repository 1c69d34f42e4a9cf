"""Checks of a request's messages, and the way from JSON to turns (Model Studio, 2025-2026)."""

from collections.abc import Mapping

from omni_batch.simulator.checks.chat import Part, Turn
from omni_batch.simulator.checks.models import MediaRules, Model
from omni_batch.simulator.checks.refusal import (
    Refusal,
    Refused,
    inspection_failed,
    invalid,
    unprocessable,
)

ROLES = ("system", "user", "assistant", "tool")
FORBIDDEN_INPUT = "forbidden-input"
"""A prompt with this word fails content moderation."""


def read_messages(messages: object, model: Model) -> tuple[Turn, ...]:
    """Turn the `messages` of a body into turns.

    Raises:
        Refused: a message is malformed, or the model can't take what it carries.
    """
    if messages is None:
        raise invalid("Required parameter 'messages' is missing: 'messages' is a required property")
    if not isinstance(messages, list):
        raise invalid("Required body invalid, please check the request body format.")
    if not messages:
        raise invalid("[] is too short - 'messages'")
    turns = tuple(_turn(message) for message in messages)
    _check_roles(turns)
    for turn in turns:
        _check_media(turn, model)
    return turns


def _check_roles(turns: tuple[Turn, ...]) -> None:
    if all(turn.role != "user" for turn in turns):
        raise unprocessable("The input messages do not contain elements with the role of user.")
    if turns[-1].role != "user":
        # The engine fails on it rather than the gateway, hence a 500.
        name = "InternalError.Algo"
        raise Refused(Refusal(500, name, "<500> InternalError.Algo: list index out of range", name))
    if any(FORBIDDEN_INPUT in turn.text for turn in turns):
        raise Refused(inspection_failed("Input text", framed=True))


def _turn(message: object) -> Turn:
    if not isinstance(message, dict):
        raise invalid("Required body invalid, please check the request body format.")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise invalid(f"'{role}' is not one of {list(ROLES)} - 'messages.role'")
    if content is None:
        raise invalid("<400> InvalidParameter: The content field is a required field.")
    if isinstance(content, str):
        return Turn(role, (Part("text", content),))
    if not isinstance(content, list) or not content:
        raise _bad_content()
    parts = tuple(_part(item) for item in content)
    if role != "user" and any(part.kind != "text" for part in parts):
        raise _bad_content()
    return Turn(role, parts)


def _bad_content() -> Refused:
    return unprocessable("The content is in an invalid format. [Unexpected item type in content]")


def _part(item: object) -> Part:
    if not isinstance(item, dict):
        raise _bad_content()
    match item.get("type"):
        case "text":
            return Part("text", _string(item.get("text")))
        case "image_url":
            return _media("image", item, [_inner(item, "image_url", "url")])
        case "input_audio":
            return _media("audio", item, [_inner(item, "input_audio", "data")])
        case "video_url":
            return _media("video", item, [_inner(item, "video_url", "url")])
        case "video" if isinstance(item.get("video"), list):
            return _media("frames", item, item["video"])
        case _:
            raise _bad_content()


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise _bad_content()
    return value


def _inner(item: Mapping[str, object], outer: str, key: str) -> str:
    holder = item.get(outer)
    if not isinstance(holder, dict):
        raise _bad_content()
    return _string(holder.get(key))


MOST_PIXELS: Mapping[str, Mapping[str, int]] = {
    "image": {"min_pixels": 16_777_216, "max_pixels": 16_777_216},
    "video": {"min_pixels": 2_048_000, "max_pixels": 2_048_000, "total_pixels": 184_549_376},
}
"""Largest values of the options beside a picture or a video (API reference, 2026)."""


def _media(kind: str, item: Mapping[str, object], refs: list[object]) -> Part:
    fps = item.get("fps")
    if fps is not None and not (isinstance(fps, int | float) and 0.1 <= fps <= 10):
        raise unprocessable("Range of fps should be [0.1, 10.0]")
    limits = MOST_PIXELS.get("video" if kind == "frames" else kind, {})
    pixels = {name: _pixels(item, name, most) for name, most in limits.items()}
    least, most = pixels.get("min_pixels"), pixels.get("max_pixels")
    if least and most and least > most:
        raise unprocessable("The min_pixels parameter must not be greater than max_pixels")
    urls = tuple(_string(ref) for ref in refs)
    return Part(
        kind,
        refs=urls,
        fps=float(fps) if fps else None,
        min_pixels=least,
        max_pixels=most,
        total_pixels=pixels.get("total_pixels"),
    )


def _pixels(item: Mapping[str, object], name: str, most: int) -> int | None:
    value = item.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise unprocessable(f"The {name} parameter must be a positive integer up to {most}")
    return value


def _check_media(turn: Turn, model: Model) -> None:
    kinds = [part.kind for part in turn.media]
    if unknown := set(kinds) - model.kinds:
        raise unprocessable(
            f"The model {model.name} does not support {min(unknown)} input. "
            "[Unexpected item type in content]"
        )
    if len(set(kinds)) > 1 and not model.rules.mixes:
        raise unprocessable(
            "The input content supports only one modality besides text in a user message."
        )
    _check_counts(kinds, model.rules)
    for part in turn.media:
        if part.kind == "frames":
            _check_frame_count(len(part.refs), model.rules)


def _check_counts(kinds: list[str], rules: MediaRules) -> None:
    most = {"audio": rules.audio_files, "video": rules.video_files, "frames": rules.video_files}
    for kind, limit in most.items():
        if kinds.count(kind) > limit:
            raise unprocessable(f"The number of {kind} inputs should not be greater than {limit}.")


def _check_frame_count(count: int, rules: MediaRules) -> None:
    least, most = rules.least_listed, rules.most_listed
    if not least <= count <= most:
        raise unprocessable(
            "The video modality input does not meet the requirements because: "
            # "shoule" is how the service spells it.
            f"the range of sequence images shoule be ({least}, {most})."
        )
