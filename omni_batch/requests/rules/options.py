"""Rules on what is asked for: speech, thinking, options. Pure."""

from collections.abc import Iterator

from omni_batch.catalogue import Model, Reading
from omni_batch.doubts import Doubt
from omni_batch.requests.request_options import REQUEST_OPTIONS, several_answers
from omni_batch.requests.rules.asked import asked_options
from omni_batch.requests.rules.context import RuleContext, Violation, listed
from omni_batch.text import nearest
from omni_batch.types import kind_of


def _speech(context: RuleContext) -> Iterator[Violation]:
    if not context.request.wants_audio:
        return
    remedy = "set request.modalities: [text]"
    if not context.can_speak:
        yield Violation(
            "speech-not-offered",
            f"{context.name} does not speak: {remedy}, or choose a model that speaks",
            "audio_out",
        )
    elif context.thinking:
        yield Violation(
            "speech-with-thinking",
            f"speech is not available in thinking mode: set request.thinking: false, or {remedy}",
        )
    if not context.server.speaks:
        yield Violation("speech-not-served", f"{context.server.name} does not speak: {remedy}")
    if context.can_speak and context.server.needs_voice and not context.request.voice:
        yield Violation("voice-missing", f"no voice of {context.name} is known: set request.voice")


def _thinking(context: RuleContext) -> Iterator[Violation]:
    if context.thinking and context.model is not None and context.model.thinking == "no":
        message = f"{context.name} has no thinking mode: remove request.thinking"
        yield Violation("thinking-not-offered", message, "thinking")


def _caps(context: RuleContext) -> Iterator[Violation]:
    for name, option in REQUEST_OPTIONS.items():
        value = context.request.options.get(name)
        cap = getattr(context.model, option.cap, None) if option.cap else None
        if option.cap and cap is not None and isinstance(value, int) and value > cap:
            rule = f"{name.replace('_', '-')}-too-large"
            message = f"request.{name} is {value:,}; {context.name} takes {cap:,} at most: lower it"
            yield Violation(rule, message, option.cap)


def _several_answers(context: RuleContext) -> Iterator[Violation]:
    for name, count in several_answers(context.request.options).items():
        message = (
            f"request.extra.{name} is {count!r}, but a row holds one answer: remove it, and set "
            "samples for several"
        )
        yield Violation("several-answers", message)


def _options_of_model(context: RuleContext) -> Iterator[Violation]:
    if context.model is None:
        return
    for asked in asked_options(context):
        option = REQUEST_OPTIONS.get(asked.name)
        if option and option.of_some_models and asked.name not in context.model.parameters:
            yield Violation(
                "option-not-taken",
                f"{asked} is {asked.value!r}, but {context.name} does not take it: remove it",
                "parameters",
            )


def _role(context: RuleContext) -> Iterator[Doubt]:
    if context.request.role_as_turns:
        message = (
            f"{context.name} knows no system message while it speaks: it is sent as a first turn "
            "of the user, which an assistant's turn accepts"
        )
        yield Doubt("role-as-first-turn", message)


def _thinking_with_media(context: RuleContext) -> Iterator[Doubt]:
    if context.model is None or not context.thinking or not context.model.media_without_thinking:
        return
    kinds = dict.fromkeys(kind_of(part) for part in context.parts())
    kinds.pop("text", None)
    if kinds:
        yield Doubt(
            "thinking-with-media",
            f"{context.name} thinks about {listed(kinds)} here; all samples of the vendor with "
            "media run it without: set request.thinking: false, or compare a few rows",
        )


def _voice(context: RuleContext) -> Iterator[Doubt]:
    model, voice = context.model, context.request.voice
    if not context.request.wants_audio or not voice or model is None or not model.voices:
        return
    having = [reading for reading in model.voice_readings() if voice in reading.voices]
    if having and voice not in model.undisputed_voices():
        yield _voice_of_one_edition(context.name, voice, model, having[0])
    elif voice not in model.voices:
        yield _voice_not_listed(context.name, voice, model)


def _voice_of_one_edition(name: str, voice: str, model: Model, having: Reading) -> Doubt:
    """A voice that the model has by some of the vendor's editions and not by others."""
    snapshot = f"set model: {having.model}, or " if having.model else ""
    sure = model.undisputed_voices()
    example = model.default_voice if model.default_voice in sure else sure[0]
    return Doubt(
        "voice-of-one-edition",
        f"voice {voice} may be refused: {name} has it by {having.source} ({having.says}), not by "
        f"others; {snapshot}choose one of the {len(sure)} that all editions have, such as "
        f"{example}",
    )


def _voice_not_listed(name: str, voice: str, model: Model) -> Doubt:
    near = nearest(voice, model.voices)
    hint = f"did you mean {near}?" if near else f"try {model.default_voice}"
    clone = " (cloned voices of the account are not listed)" if model.cloned_voices else ""
    message = f"voice {voice} is not in the catalogue's list for {name}{clone}; {hint}"
    return Doubt("voice-not-listed", message)


def _voice_without_speech(context: RuleContext) -> Iterator[Doubt]:
    request = context.request
    if request.voice and not request.wants_audio:
        message = (
            f"voice {request.voice} is not sent, as text alone is asked for; for speech set "
            "request.modalities: [text, audio]"
        )
        yield Doubt("voice-without-speech", message)


RULES_OF_CONFIG = (
    *(_speech, _thinking, _caps, _several_answers, _options_of_model),
    *(_voice, _voice_without_speech),
)
"""What can be judged before a row is read."""
RULES = (*RULES_OF_CONFIG, _thinking_with_media, _role)
