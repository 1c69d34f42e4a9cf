"""Checks of everything in a request but its messages (Model Studio error codes, 2025-2026)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from omni_batch.simulator.checks.chat import Body
from omni_batch.simulator.checks.models import Model
from omni_batch.simulator.checks.refusal import invalid, unknown_model, unprocessable


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric parameter: its type's name on the wire, its range, the message outside it."""

    name: str
    whole: bool
    fits: Callable[[float], bool]
    message: str
    """May hold {value}."""

    def check(self, body: Body) -> None:
        """Refuse a value of the wrong type or outside the range; null counts as absent."""
        value = body.get(self.name)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            kind = "Integer" if self.whole else "Float"
            raise invalid(f"<400> InvalidParameter: '{self.name}' must be {kind}")
        if not self.fits(value):
            raise unprocessable(self.message.format(value=value))


# fmt: off
NUMBERS = (
    Number("temperature", False, lambda v: 0 <= v < 2, "Temperature should be in [0.0, 2.0)"),
    Number("top_p", False, lambda v: 0 < v <= 1, "Range of top_p should be (0.0, 1.0]"),
    Number("top_k", True, lambda v: v >= 0, "Parameter top_k be greater than or equal to 0"),
    Number("presence_penalty", False, lambda v: -2 <= v <= 2,
           "Presence_penalty should be in [-2.0, 2.0]"),
    Number("repetition_penalty", False, lambda v: v > 0,
           "Repetition_penalty should be greater than 0.0"),
    Number("n", True, lambda v: 1 <= v <= 4, "Range of n should be [1, 4]"),
    Number("seed", True, lambda v: v >= 0, "{value} is lesser than the minimum of 0 - 'seed'"),
    Number("seed", True, lambda v: v < 2**31,
           "{value} is greater than the maximum of 2147483647 - 'seed'"),
)
# fmt: on
FLAGS = (
    *("stream", "enable_thinking", "enable_search"),
    *("vl_high_resolution_images", "use_multichannel", "preserve_thinking"),
)

LENGTHS = ("max_tokens", "max_completion_tokens")
"""Two names for the longest reply; the newer one also bounds the chain of thought."""


def find_model(body: Body, models: Mapping[str, Model]) -> Model:
    """The one of `models` that is named; 404 if there is none, 400 if it only speaks WebSocket."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise invalid("you must provide a model parameter")
    if name.endswith("-realtime") or "-realtime-" in name:
        raise invalid("current user api does not support http call.")
    if name not in models:
        raise unknown_model(name)
    return models[name]


def check_parameters(body: Body, model: Model) -> None:
    """Refuse what no message could make right."""
    for flag in FLAGS:
        if not isinstance(body.get(flag), bool | None):
            raise invalid(f"<400> InvalidParameter: '{flag}' must be Boolean")
    for number in NUMBERS:
        number.check(body)
    limit = model.max_output_tokens
    for name in LENGTHS:
        message = f"Range of {name} should be [1, {limit}]"
        Number(name, True, lambda v: 1 <= v <= limit, message).check(body)
    if body.get("n", 1) not in (None, 1) and model.stream_only:
        # Only some text models give several answers; no document says what the others reply.
        raise unprocessable("Range of n should be [1, 1]")
    _check_stop(body)
    if body.get("enable_search") and not model.searches:
        raise invalid("This model does not support enable_search.")
    _check_json_mode(body)


def _check_stop(body: Body) -> None:
    stop = body.get("stop")
    words = stop if isinstance(stop, list) else [stop]
    if stop is not None and not all(isinstance(word, str | int) for word in words):
        raise invalid("<400> InvalidParameter: 'stop' must be String or List")


def _check_json_mode(body: Body) -> None:
    wanted = body.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_object":
        return
    if body.get("enable_thinking"):
        raise unprocessable("Json mode response is not supported when enable_thinking is true")
    if "json" not in str(body.get("messages")).lower():
        raise unprocessable(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'."
        )


def find_stop_words(body: Body) -> tuple[str, ...]:
    """The words at which a reply ends."""
    stop = body.get("stop")
    words = stop if isinstance(stop, list) else [stop]
    return tuple(word for word in words if isinstance(word, str) and word)


def find_stream(body: Body, model: Model) -> bool:
    """Whether the reply is streamed; omni models do nothing else."""
    stream = body.get("stream") is True
    if not stream and model.stream_only:
        raise unprocessable(
            "This model only support stream mode, please enable the stream parameter to access "
            "the model. "
        )
    return stream


def find_max_tokens(body: Body, model: Model) -> int:
    """The longest reply that is allowed; the smaller number where both are given."""
    limits = [limit for name in LENGTHS if isinstance(limit := body.get(name), int)]
    return min([*limits, model.max_output_tokens])


def find_choices(body: Body) -> int:
    """How many replies are asked for."""
    count = body.get("n")
    return count if isinstance(count, int) else 1


def find_include_usage(body: Body) -> bool:
    """stream_options.include_usage, false unless asked for."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict) or not isinstance(options.get("include_usage"), bool | None):
        raise invalid("<400> InvalidParameter: 'stream_options' must be Object")
    if options and body.get("stream") is not True:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    return options.get("include_usage") is True


def find_thinking(body: Body, model: Model) -> bool:
    """Whether the model thinks first, by the request or by its own default."""
    asked = body.get("enable_thinking")
    if asked is True and model.thinking == "never":
        message = f"The model {model.name} does not support enable_thinking."
        raise invalid(message, code="InvalidParameter.NotSupportEnableThinking")
    _check_budget(body, model)
    thinking = model.thinking == "on" if asked is None else asked is True
    if thinking and body.get("stream") is not True:
        raise invalid("parameter.enable_thinking only support stream call")
    return thinking


def _check_budget(body: Body, model: Model) -> None:
    budget, most = body.get("thinking_budget"), model.max_thinking_tokens
    if budget is None:
        return
    if body.get("reasoning_effort") is not None:
        raise invalid("thinking_budget and reasoning_effort cannot be used together.")
    if isinstance(budget, bool) or not isinstance(budget, int) or not 1 <= budget <= most:
        raise unprocessable(
            f"The thinking_budget parameter must be a positive integer and not greater than {most}"
        )


def find_voice(body: Body, model: Model, *, thinking: bool) -> str | None:
    """The voice of the speech that is asked for; None for text only."""
    if not _wants_speech(body, model):
        return None
    if thinking:
        raise unprocessable("'audio' output is not supported when enable_thinking is true")
    audio = body.get("audio")
    if not isinstance(audio, dict):
        raise unprocessable("Field required: parameters.audio")
    if audio.get("format", "wav") != "wav":
        raise unprocessable("Input should be 'wav': parameters.audio.format")
    return _known_voice(audio.get("voice"), model)


def _wants_speech(body: Body, model: Model) -> bool:
    modalities = body.get("modalities")
    if modalities is None:
        return False
    if not isinstance(modalities, list) or not modalities:
        raise unprocessable("Input should be a valid list: parameters.modalities")
    for modality in modalities:
        if modality not in ("text", "audio"):
            raise unprocessable("Input should be 'text' or 'audio': parameters.modalities")
    if "audio" in modalities and not model.speech:
        raise unprocessable(f"The model {model.name} does not support the modalities {modalities}")
    return "audio" in modalities


def _known_voice(voice: object, model: Model) -> str:
    if isinstance(voice, str) and voice in model.voices:
        return voice
    if len(model.voices) > 4:
        raise invalid(f"The requested voice '{voice}' is not supported.", code="invalid_value")
    names = [f"'{name}'" for name in model.voices]
    listed = f"{', '.join(names[:-1])} or {names[-1]}"
    raise unprocessable(f"Input should be {listed}: parameters.audio.voice")
